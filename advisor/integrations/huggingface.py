"""Hugging Face transformers: a callback of the ``Trainer``.

``Trainer(…, callbacks=[AdvisorCallback("imdb", objective="eval/loss")])``, or ``report_to="advisor"`` once this module
is imported. Metrics are called as other trackers of the Trainer call them: ``train/loss``, ``eval/loss``,
``test/loss``. Leaves out the models' files. Invariant: each call of ``train`` is a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.integrations.checking import inputs_and_labels, tried
from advisor.integrations.common import Session, agreed, begin, flat, framework, scalars, trains_now
from advisor.integrations.session import HoldsSession
from storage.records import Finding

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

_transformers: Any = framework("huggingface", "transformers")
_integrations: Any = framework("huggingface", "transformers.integrations.integration_utils")

log = logging.getLogger(__name__)

ALWAYS: Final = (
    "learning_rate per_device_train_batch_size gradient_accumulation_steps num_train_epochs max_steps optim "
    "weight_decay warmup_steps lr_scheduler_type max_grad_norm label_smoothing_factor bf16 fp16"
).split()
"""Training arguments that are parameters even where they have their defaults: what trainings are compared by."""
NEVER: Final = frozenset(
    (
        "output_dir run_name project seed report_to disable_tqdm log_level log_level_replica log_on_each_node "
        "logging_strategy logging_steps logging_first_step logging_nan_inf_filter logging_dir "
        "eval_strategy eval_steps eval_on_start eval_delay eval_do_concat_batches eval_accumulation_steps "
        "save_strategy save_steps save_total_limit save_only_model save_on_each_node enable_jit_checkpoint "
        "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision "
        "trackio_space_id trackio_bucket_id trackio_static_space_id do_train do_eval do_predict local_rank "
        "resume_from_checkpoint restore_callback_states_from_checkpoint use_cpu skip_memory_metrics debug "
        "include_num_input_tokens_seen ddp_backend ddp_timeout dataloader_num_workers dataloader_pin_memory "
        "dataloader_persistent_workers dataloader_prefetch_factor accelerator_config"
    ).split()
)
"""Training arguments that say where and how it is told of a training, not what is trained; kept as an attribute."""
NOT_OF_MODEL: Final = frozenset(("id2label", "label2id", "transformers_version", "architectures"))
SUMMARY: Final = "train_runtime"
"""What the Trainer logs with this it tells once, of the whole training: no points of a curve."""
IN_STATE: Final = "advisor"
"""Key of the checkpoint's ``stateful_callbacks`` under which the run's id is kept; no class is called so."""
NO_END: Final = "the Trainer never said that the training had ended, so an exception ended it"


class AdvisorCallback(HoldsSession, _transformers.TrainerCallback):  # type: ignore[misc]  # without the framework, of no known type
    """Logs a training of the ``Trainer`` into a run.

    The run begins with ``train()`` and is ended half a minute after it, at the next training or at the program's end,
    so that ``evaluate()`` and ``predict()`` after it belong to it. The Trainer does not tell callbacks of an
    exception: a run whose training raised is failed when the program ends or the thread trains again; used as a
    context manager around ``train()``, the callback fails it at once and keeps the traceback.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it; by default ``$ADVISOR_EXPERIMENT``.
    run
        A run that goes on already; whoever began it ends it.
    params
        Parameters beyond the training's arguments and the model's configuration.
    prune
        Whether to stop the training when ``run.should_stop()`` says so; the run ends as pruned.
    stop_on_error
        Whether to stop it once there is a finding of severity error, NaN for one; the run ends as failed.
    checks
        Whether to make the state checks of docs/findings.md.
    on_finding
        Called once with each finding; by default it is a warning in the log.
    options
        Anything else that ``advisor.integrations.common.begin`` takes: ``store``, ``objective``, ``tags``, …

    Examples
    --------
    >>> with AdvisorCallback("imdb", objective="eval/loss") as callback:  # doctest: +SKIP
    ...     Trainer(model, args, train_dataset=train, callbacks=[callback]).train()
    """

    def __init__(
        self,
        experiment: Any = None,
        *,
        run: LiveRun | None = None,
        params: Mapping[str, Any] | None = None,
        prune: bool = False,
        stop_on_error: bool = False,
        checks: bool = False,
        on_finding: Callable[[Finding], object] | None = None,
        **options: Any,
    ) -> None:
        self._experiment = experiment
        self._options = {"run": run, "params": params, "on_finding": on_finding, **options}
        self._options["stop_on_error"] = stop_on_error
        self._prune, self._stops, self._wants_checks = prune, prune or stop_on_error, checks
        self._session: Session | None = None
        self._training = self._summed = self._evaluating = False
        self._hook: Any = None

    def __enter__(self) -> AdvisorCallback:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._unhook()
        if self._session is not None:
            self._session.end(error)

    def finish(self) -> None:
        """End the run now."""
        self._unhook()
        if self._session is not None:
            self._session.finish()

    # -- the training begins and ends

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Begin a run, and say where it goes on from.

        Raises
        ------
        ConfigError
            If the Trainer has another callback of this kind.
        """
        before = state.stateful_callbacks.get(IN_STATE) or {}
        if trains_now(state):
            raise ConfigError(
                "this Trainer has two AdvisorCallbacks, and each would begin a run; give either report_to='advisor' or "
                "callbacks=[AdvisorCallback(…)]"
            )
        self._begin(args, state, known.get("model"))
        session = self._begun
        self._training, self._summed = True, False
        session.unguarded(NO_END, training=state)
        if state.global_step > 0:
            session.resumed(before.get("run_id"), state.global_step)
        state.stateful_callbacks[IN_STATE] = {"run_id": session.run.id}
        if self._wants_checks:
            model, optimizer = known.get("model"), known.get("optimizer")
            checks = session.run.checks()
            tried(checks.model, model, optimizer)
            told = tried(checks.optimizer, optimizer, before=before.get("optimizer") if state.global_step else None)
            state.stateful_callbacks[IN_STATE]["optimizer"] = told
            self._watch_batches(model)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Let the run end; a trial that a search prunes ends as pruned."""
        self._unhook()
        self._training = False
        session = self._begun
        if state.is_hyper_param_search:
            # The Trainer calls this before it raises TrialPruned, too, and then has told no summary.
            session.finish(pruned=not self._summed)
        else:
            session.linger()

    def _begin(self, args: Any, state: Any, model: Any) -> None:
        search = state.is_hyper_param_search
        config = {**_arguments(args), **_model(model), **flat(state.trial_params or {})}
        options = {"rank": args.process_index, "seed": args.seed, **self._options}
        self._session = begin(self._experiment, config=config, adopt=not search, **options)
        run = self._session.run
        if not run.state.is_over:
            run.set_attribute("training_arguments", flat(args.to_dict()))
            whole = getattr(model, "config", None)
            if whole is not None:
                kept = {key: value for key, value in _as_dict(whole).items() if key not in NOT_OF_MODEL}
                run.set_attribute("model_config", flat(kept))
            if state.trial_name:
                run.set_attribute("trial_name", state.trial_name)

    @property
    def _begun(self) -> Session:
        assert self._session is not None
        return self._session

    # -- while it goes on

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **known: Any,
    ) -> None:
        """Log values at the global step; figures of the whole training become an attribute."""
        if self._session is None:
            self._begin(args, state, known.get("model"))
        session, logs = self._begun, dict(logs or {})
        if not self._training:
            session.stay()
        if SUMMARY in logs:
            self._summed = True
            if not session.run.state.is_over:
                session.run.set_attribute("training_summary", scalars(logs))
        else:
            session.log(_integrations.rewrite_logs(logs), step=state.global_step)
            if self._training and self._stops and agreed(session.should_stop(advice=self._prune)):
                control.should_training_stop = True
        if not self._training:
            session.linger()

    def on_predict(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: Mapping[str, Any],
        **known: Any,
    ) -> None:
        """Log the metrics of a prediction."""
        self._evaluating = False
        self.on_log(args, state, control, logs=metrics, **known)

    # -- state

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Remember the optimizer where a checkpoint follows."""
        if self._wants_checks and control.should_save and self._session is not None:
            told = tried(self._session.run.checks().optimizer, known.get("optimizer"))
            state.stateful_callbacks[IN_STATE] = {"run_id": self._session.run.id, "optimizer": told}

    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Compare the epoch with the one before."""
        if self._wants_checks and self._session is not None:
            tried(self._session.run.checks().epoch_end, known.get("model"))
            self.on_step_end(args, state, control, **known)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Look at the model's mode where an evaluation begins; an evaluation after the training keeps the run open."""
        if self._session is not None and not self._evaluating:
            self._evaluating = True
            self._session.stay()
            if self._wants_checks:
                tried(self._session.run.checks().before_eval, known.get("model"))

    def on_evaluate(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Hear that an evaluation is over."""
        self._evaluating = False

    def _watch_batches(self, model: Any) -> None:
        """See the batches in the model's own forward call: the Trainer does not give them to callbacks."""
        if self._hook is not None or not hasattr(model, "register_forward_pre_hook"):
            return
        checks = self._begun.run.checks()

        def look(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            if module.training:
                inputs, labels = inputs_and_labels({k: v for k, v in named.items() if hasattr(v, "shape")})
                tried(checks.batch, inputs or positional, labels)

        self._hook = model.register_forward_pre_hook(look, with_kwargs=True)

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def _arguments(args: Any) -> dict[str, Any]:
    """Return the training arguments that say what is trained: the usual ones, and those that were changed."""
    given = args.to_dict()
    changed = {
        field.name
        for field in fields(args)
        if field.name in given
        and field.default is not MISSING
        and getattr(args, field.name) != field.default
        and (given[field.name] or field.default)  # not what only became False or empty while it was checked
    }
    made = {field.name for field in fields(args) if field.default is MISSING}  # by factories: whatever they make
    names = [name for name in given if name in ALWAYS or (name in changed - made - NEVER)]
    return flat({name: given[name] for name in names})


def _model(model: Any) -> dict[str, Any]:
    """Return what of a model's configuration is not the default, and how large it is."""
    known: dict[str, Any] = {}
    config = getattr(model, "config", None)
    if config is not None:
        given, usual = _as_dict(config), _defaults(config)
        differs = {key: value for key, value in given.items() if value is not None and value != usual.get(key)}
        known |= {key.lstrip("_"): value for key, value in differs.items() if key not in NOT_OF_MODEL}
        known |= {"model_type": given["model_type"]} if given.get("model_type") else {}
    if callable(getattr(model, "parameters", None)):
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        known["n_parameters"] = sum(n for n, _ in sizes)
        known["n_trainable"] = sum(n for n, trained in sizes if trained)
    adapters = getattr(model, "peft_config", None)
    return flat({"model": known} | ({"peft": adapters} if adapters else {}))


def _as_dict(config: Any) -> Mapping[str, Any]:
    return config if isinstance(config, Mapping) else dict(config.to_dict())


def _defaults(config: Any) -> Mapping[str, Any]:
    """Return what a configuration of this kind has where nobody says otherwise; nothing where that is not known."""
    try:
        return {} if isinstance(config, Mapping) else _as_dict(type(config)())
    except (TypeError, ValueError):  # a kind that has to be told something
        return {}


_integrations.INTEGRATION_TO_CALLBACK.setdefault("advisor", AdvisorCallback)
