from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def ran(repository: Path, code: str) -> list[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_the_routines_are_scipys_own_and_its_packages_work_when_they_are_imported_later(repository: Path) -> None:
    code = """
        import sys
        from advisor.suggest.routines import lapack, special
        ours = lapack(), special()
        print(*(name in sys.modules for name in ("scipy.linalg", "scipy.special", "scipy.optimize")))
        import scipy.linalg.lapack, scipy.optimize, scipy.special, scipy.stats
        print(scipy.linalg.lapack.dpotrf is ours[0].dpotrf, scipy.linalg.lapack.dtrtrs is ours[0].dtrtrs)
        print(scipy.special.ndtr is ours[1].ndtr, scipy.special.erfcx is ours[1].erfcx)
        import sklearn.ensemble
        print(scipy.linalg.solve([[2.0]], [4.0])[0], scipy.special.expit(0.0))
    """
    assert ran(repository, code) == ["False"] * 3 + ["True"] * 4 + ["2.0", "0.5"]


def test_packages_of_scipy_that_are_loaded_already_are_used(repository: Path) -> None:
    code = """
        import scipy.linalg, scipy.special
        from advisor.suggest.routines import lapack, special
        print(lapack().dpotrf([[4.0]], lower=True)[0][0, 0], special().ndtr(0.0))
    """
    assert ran(repository, code) == ["2.0", "0.5"]


def test_a_suggestion_imports_none_of_scipys_packages(repository: Path, tmp_path: Path) -> None:
    code = f"""
        import sys
        import advisor
        with advisor.open({str(tmp_path / "store")!r}, capture=False) as adv:
            for name in ("other", "here"):
                exp = adv.experiment(name, objective="loss", space={{"lr": advisor.Float(0.1, 1)}})
                for i in range(12):
                    exp.tell({{"lr": 0.1 + i / 20}}, (i - 5) ** 2 / 10)
            print(exp.suggest(seed=1)[0].source)
        heavy = ("scipy.linalg", "scipy.special", "scipy.optimize", "scipy.stats", "scipy.sparse", "sklearn", "optuna")
        print(*(name for name in heavy if name in sys.modules))
    """
    assert ran(repository, code) == ["gp"]
