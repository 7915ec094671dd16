"""Keep secrets out of the store, of models and of channels.

``looks_secret`` judges a name, ``redact`` the values of a mapping by their names and by their shape, ``scrub`` free
text, ``redact_command`` a command line. Nothing is guessed from randomness alone: commit hashes and run ids would go.

The rule for names. A name is cut into words (``hfToken`` is ``hf token``), and it looks secret if

1. a word of ``_ALWAYS`` occurs in it (password, secret, credentials, webhook …), or a compound of ``_COMPOUNDS``
   (``api_key``, ``apikey``, ``api-keys``, ``access_token`` …); or
2. its last word, digits aside, is ``token``, ``key``, ``auth``, ``pass`` or ``pwd``, and what precedes allows it:
   ``token`` and ``auth`` unless the word before is one that training code puts there (``pad_token``, ``n_token``);
   ``key``, ``pass`` and ``pwd`` only after a word of ``_OWNERS`` (``openai_key``, ``db_pass``).

So ``token_dim``, ``n_tokens``, ``max_tokens``, ``tokenizer``, ``eos_token_id``, ``keyframe``, ``num_keys``,
``sort_key`` and ``forward_pass`` survive. Floats, booleans and None are never secrets, whatever their name says.

Invariant: whatever is done once is done: redacting twice changes nothing more.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "[redacted]"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS = _words(
    "password passwords passwd passphrase passcode secret secrets credential credentials cred creds "
    "authorization bearer cookie cookies webhook webhooks jwt dsn"
)
_COMPOUNDS = re.compile(
    r"(?:api|secret|access|private|signing|encryption|account|master|license|ssh|service)keys?"
    r"|(?:api|auth|access|refresh|session|bearer|id|security|personal)tokens"
    r"|(?:api|auth|access|refresh|bearer|security)token(?!s?(?:iz|dim|count|len|id))"
    r"|connectionstring|passwd|password"
)
_OWNERS = _words(
    "openai anthropic wandb hf huggingface hub aws azure gcp google gemini github gitlab gh gl slack discord telegram "
    "cohere mistral groq together replicate comet neptune mlflow clearml kaggle lancedb twilio sendgrid stripe client "
    "auth db database smtp imap mail email mysql postgres pg redis mongo ftp sftp proxy admin root user http "
    "basic sudo ldap registry pypi npm docker server"
)
_BEFORE_MODEL_TOKEN = _words(
    "pad padding eos bos sos eot unk cls sep mask special prefix suffix start end stop begin image img audio video "
    "vision text word sub n num max min per next prev last first class cur current new extra register dist "
    "distillation time position pos prompt placeholder sink separator dummy null blank target source query label "
    "each every single multi by of add ignore think"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[a-z]+|\d+")


@functools.lru_cache(maxsize=10_000)  # the same few names, thousands of times in an import
def looks_secret(name: str) -> bool:
    """Return whether a value of that name is likely a secret; the module's docstring has the rule.

    Examples
    --------
    >>> [looks_secret(name) for name in ("api_key", "HF_TOKEN", "dbPassword", "max_tokens", "token_dim", "num_keys")]
    [True, True, True, False, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name[-200:]) if not word.isdigit()]
    if not words:
        return False
    if not _ALWAYS.isdisjoint(words) or _COMPOUNDS.search("".join(words)):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in ("token", "auth", "oauth"):
        return before not in _BEFORE_MODEL_TOKEN
    return last in ("key", "pass", "pwd") and before in _OWNERS


def environment_secrets() -> list[str]:
    """Return the values of this process's variables that look secret, for whoever redacts thousands of mappings."""
    return _environment_secrets(os.environ)


def redact(mapping: Mapping[str, Any], *, secrets: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a copy in which every value that looks secret is ``"[redacted]"``, nested ones too.

    Texts under other names are scrubbed. What is neither a mapping, a list, a tuple nor a text stays as it is.

    Parameters
    ----------
    secrets
        What ``environment_secrets`` returned just now; looked up where None.

    Examples
    --------
    >>> redact({"lr": 0.1, "hub": {"token": "abc"}})
    {'lr': 0.1, 'hub': {'token': '[redacted]'}}
    """
    known = _environment_secrets(os.environ) if secrets is None else secrets
    return {key: _redacted(key, value, known, depth=0) for key, value in mapping.items()}


def scrub(text: str, *, environ: Mapping[str, str] | None = None) -> str:
    """Return a text without the secrets in it.

    Found are: ``name=value``, ``name: value`` and ``--name value`` where the name looks secret; ``Bearer …`` and other
    authorization headers; user and password of a URL; keys of known shape (OpenAI and alike, AWS, GitHub, GitLab,
    Google, Hugging Face, Slack, Telegram, JSON web tokens, private key blocks, Slack and Discord webhooks); and the
    values of environment variables whose names look secret.

    Parameters
    ----------
    text
        Anything; lines stay lines.
    environ
        Where values of secret variables are looked up; the process's own by default.
    """
    return _scrubbed(text, _environment_secrets(os.environ if environ is None else environ))


def redact_command(arguments: Sequence[str]) -> list[str]:
    """Return a command line without secrets: ``--api-key X``, ``--api-key=X``, ``model.api_key=X``, what scrub finds.

    Examples
    --------
    >>> redact_command(["train.py", "--api-key", "abc", "--max-tokens", "5"])
    ['train.py', '--api-key', '[redacted]', '--max-tokens', '5']
    """
    secrets = _environment_secrets(os.environ)
    out: list[str] = []
    hide_next = False
    for argument in arguments:
        is_option = argument.startswith("-") and not argument[1:2].isdigit()
        out.append(REDACTED if hide_next and not is_option else _scrubbed(argument, secrets))
        hide_next = is_option and "=" not in argument and looks_secret(argument)
    return out


# -- values


_MAX_DEPTH = 50


def _redacted(name: object, value: Any, secrets: Sequence[str], *, depth: int) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if depth > _MAX_DEPTH or looks_secret(str(name)):
        return REDACTED
    if isinstance(value, str):
        return _scrubbed(value, secrets)
    if isinstance(value, Mapping):
        return {key: _redacted(key, inner, secrets, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        items = [_redacted("", item, secrets, depth=depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return values worth hiding, longest first so that no rest of a longer one stays."""
    values = {value for name, value in environ.items() if len(value) >= 8 and looks_secret(name)}
    return sorted(values, key=len, reverse=True)


# -- text
#
# Each pattern starts at a boundary and has bounded or possessive repeats, so that a megabyte without blanks is read
# in linear time.

_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[^\s\"'<>]+"),
    re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/[^\s\"'<>]+"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:hf|gsk|pypi|npm|dop_v1|glpat|gldt|r8|xai|pplx|nvapi|lsv2_pt|lsv2_sk)[_-][A-Za-z0-9_-]{20,}"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{16}\b"),
    re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"\b\d{8,10}:AA[A-Za-z0-9_-]{30,}"),
)
_HEADER = re.compile(r"(\b(?:proxy-)?authorization\b[\"']?[ \t]*[:=][ \t]*[\"']?|\b(?:set-)?cookie[\"']?[ \t]*:[ \t]*)[^\r\n\"']+", re.IGNORECASE)  # fmt: skip  # noqa: E501
_SCHEME = re.compile(r"\b(bearer|basic|digest)([ \t]+)(?=[^\s\"',;]*[\d=+/_-])[^\s\"',;]{8,}", re.IGNORECASE)
_URL_USER = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,30}://)([^\s/@\"'<>?#]{1,400}(?:@[^\s/@\"'<>?#]{1,400})*)@"
)
_SIGNED_URL = re.compile(
    r"([?&](?:sig|signature|x-amz-[a-z-]{1,30}|x-goog-[a-z-]{1,30}|key|code|auth)=)[^&\s\"'<>]+", re.IGNORECASE
)
_NAME = re.compile(r"(?<![\w.-])(-{0,2}[A-Za-z_][\w.-]*+)[\"']?\]?[ \t]*(?:=>|:=|=|:)[ \t]*")
_VALUE = re.compile(r"[rbuf]{0,2}\"[^\"\r\n]*+\"|[rbuf]{0,2}'[^'\r\n]*+'|[^\s,;&]++")
_OPTION = re.compile(r"(?<![\w-])(--?[A-Za-z][\w.-]*+)([ \t]+)([^\s-][^\s]*+)")


def _scrubbed(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret not in REDACTED:
            text = text.replace(secret, REDACTED)
    for shape in _SHAPES:
        text = shape.sub(REDACTED, text)
    text = _URL_USER.sub(_without_user, text)
    text = _SIGNED_URL.sub(rf"\1{REDACTED}", text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _SCHEME.sub(rf"\1\2{REDACTED}", text)
    return _without_named(_OPTION.sub(_without_option, text))


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match.groups()
    return match.group() if user == "git" else f"{scheme}{REDACTED}@"


def _without_option(match: re.Match[str]) -> str:
    name, blank, _value = match.groups()
    return f"{name}{blank}{REDACTED}" if looks_secret(name) else match.group()


def _without_named(text: str) -> str:
    """Replace the values of ``name=value`` and the like; the value of a harmless name is searched in turn."""
    out, position = [], 0
    while found := _NAME.search(text, position):
        out.append(text[position : found.end()])
        position = found.end()
        value = _VALUE.match(text, position) if looks_secret(found[1]) else None
        if value is not None:
            quote = value.group()[-1] if value.group()[-1] in "\"'" else ""
            out.append(f"{quote}{REDACTED}{quote}")
            position = value.end()
    return "".join(out) + text[position:]
