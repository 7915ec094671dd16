from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def ran(code: str, *, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{textwrap.dedent(code)}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_submodule_is_imported_without_its_package_until_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("print('init'); VALUE = 7")
    (tmp_path / "heavy" / "part.py").write_text("NAME = 'part'")
    code = """
        from storage.light_import import put_off_init
        put_off_init("heavy")
        from heavy.part import NAME
        print(NAME)
        import heavy
        print(heavy.VALUE, heavy.part.NAME, hasattr(heavy, "nothing"))
        put_off_init("heavy")
        put_off_init("no_such_package")
    """
    assert ran(code, path=tmp_path).splitlines() == ["part", "init", "7 part False"]


def test_a_module_is_imported_alone_and_its_package_afterwards_as_usual(tmp_path: Path) -> None:
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("print('init'); from heavy import part; VALUE = part.NAME")
    (tmp_path / "heavy" / "part.py").write_text("from heavy.other import NAME")
    (tmp_path / "heavy" / "other.py").write_text("NAME = 'other'")
    code = """
        from storage.light_import import alone
        part = alone("heavy.part")
        print(part.NAME, "heavy" in sys.modules)
        import heavy
        print(heavy.VALUE, heavy.part is part, alone("heavy.part") is part)
        for missing in ("heavy.nothing", "no_such_package.part"):
            try:
                alone(missing)
            except ImportError:
                print("refused", "no_such_package" in sys.modules)
    """
    assert ran(code, path=tmp_path).splitlines() == ["other False", "init", "other True True"] + ["refused False"] * 2


def test_opening_a_store_leaves_the_unused_client_out_and_it_works_when_asked_for(tmp_path: Path) -> None:
    code = f"""
        from storage import open_store
        open_store({str(tmp_path / "store")!r})
        name = "lance_namespace_urllib3_client"
        print(any(module.startswith(name + ".api") for module in sys.modules))
        import lance_namespace_urllib3_client
        print(lance_namespace_urllib3_client.TableApi.__name__)
    """
    assert ran(code, path=Path.cwd()).split() == ["False", "TableApi"]


def test_a_package_that_is_left_out_is_there_again_afterwards(tmp_path: Path) -> None:
    (tmp_path / "optional.py").write_text("")
    (tmp_path / "user.py").write_text("try:\n    import optional\nexcept ImportError:\n    optional = None\n")
    code = """
        from storage.light_import import left_out
        with left_out("optional"):
            import user
        import optional
        print(user.optional, optional.__name__)
    """
    assert ran(code, path=tmp_path).strip() == "None optional"


def test_a_command_loads_no_pandas(tmp_path: Path) -> None:
    code = f"""
        from advisor.cli import main
        main(["--store", {str(tmp_path / "store")!r}, "tell", "exp", "--params", "{{}}", "--value", "1"])
        from storage import open_store
        open_store({str(tmp_path / "store")!r})
        main(["--store", {str(tmp_path / "store")!r}, "runs"])
        print("pandas" in sys.modules)
    """
    assert ran(code, path=Path.cwd()).splitlines()[-1] == "False"


def test_classes_that_are_defined_unchecked_work_as_others_do(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        textwrap.dedent("""
        import overrides
        import pydantic

        class Model(pydantic.BaseModel):
            number: int

        class Odd:
            @overrides.override
            def nobody_has_this(self):
                return 1
        """)
    )
    code = """
        import pydantic
        from storage.light_import import unchecked
        before = dict(pydantic.BaseModel.model_config)
        with unchecked():
            import models
        assert not models.Model.__pydantic_complete__
        assert models.Model(number="3").number == 3
        try:
            models.Model(number="three")
        except pydantic.ValidationError:
            pass
        else:
            raise AssertionError("not validated")
        assert models.Odd().nobody_has_this() == 1
        assert dict(pydantic.BaseModel.model_config) == before

        class After(pydantic.BaseModel):
            number: int
        assert After.__pydantic_complete__
        import overrides
        try:
            class Wrong:
                @overrides.override
                def nobody_has_this(self): ...
        except TypeError:
            pass
        else:
            raise AssertionError("not checked any more")
        """
    assert ran(code + "print('fine')", path=tmp_path) == "fine\n"
