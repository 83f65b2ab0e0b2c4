"""Every setting in one table: its name, default, environment variable, flag and meaning.

Command line, environment, file and the reference page are made from this table, so none of them can say
something else. Reading a setting is `value(name, given)`: what was given, else the environment, else the
file, else the default. Where a setting applies is left to whoever asks for it.

The file is TOML, one `name = value` a line with the names of this table. `--config` or LOOPLINE_CONFIG
names it; without them it is `loopline.toml` in the working folder, if there is one. A file that was merely
found there is believed where nobody else can write to it, and never opens a server to other machines.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from feedback import setting_values as values
from feedback.kafka_settings import KAFKA
from feedback.ownership import ANYBODY, distrusted
from feedback.redaction import redacted, remember, remember_whole
from feedback.setting_values import Setting
from schemas.errors import Malformed

FILE_NAME = "loopline.toml"
OPENING = ("host", "insecure", "allowed_hosts")
"""What opens a server to others: never taken from a file that nobody has named."""


class BadSetting(Malformed):
    """A setting that cannot be used as it was given."""


# What Loopline's libraries read from the environment themselves.
LIBRARY_SECRETS = ("PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


SETTINGS = (
    Setting(
        "config",
        None,
        "LOOPLINE_CONFIG",
        "--config",
        "FILE",
        Path,
        f"File with settings, in TOML. Without it: {FILE_NAME} in the working folder, if there is one.",
    ),
    Setting(
        "home",
        Path(".loopline"),
        "LOOPLINE_HOME",
        "--home",
        "DIR",
        Path,
        "Folder that holds the log, the views and the datasets.",
    ),
    Setting(
        "log",
        None,
        "LOOPLINE_LOG",
        "--log",
        "URL",
        values.log_url,
        "Kafka that holds the log, for more than one machine: kafka://HOST:PORT[,HOST:PORT...][/PREFIX]."
        " Goes together with the store. Without both: the home's files.",
    ),
    *KAFKA,
    Setting(
        "store",
        None,
        "LOOPLINE_STORE",
        "--store",
        "URL",
        values.store_url,
        "PostgreSQL that holds the views: postgresql://USER@HOST:PORT/DATABASE. A password in it belongs in"
        " the environment or in a file, since others on the machine can read command lines:"
        " LOOPLINE_STORE_FILE may name a file that holds the address.",
        secret=True,
    ),
    Setting(
        "datasets",
        None,
        "LOOPLINE_DATASETS",
        "--datasets",
        "URL",
        values.datasets,
        "Where dataset releases lie: s3://BUCKET/PREFIX, or a folder. Without it: the home's folder.",
        secret=True,
    ),
    Setting(
        "url",
        None,
        "LOOPLINE_URL",
        "--url",
        "URL",
        values.url,
        "Server to speak to. Without it: the server that runs on the home, or none; with a log on Kafka, the"
        " collector at the host and port. A user and a password in it (https://USER:PASSWORD@HOST) are sent"
        " as basic authentication; they belong in the environment or in a file: LOOPLINE_URL_FILE may name a"
        " file that holds the address.",
        secret=True,
    ),
    Setting(
        "headers",
        None,
        "LOOPLINE_HEADERS",
        None,
        "NAME: VALUE",
        values.headers,
        "Headers that go with each request to the server of --url, one `NAME: VALUE` a line: what a proxy or"
        " a login in front of it asks for. LOOPLINE_HEADERS_FILE may name a file that holds them.",
        secret=True,
    ),
    Setting(
        "ca_bundle",
        None,
        "LOOPLINE_CA_BUNDLE",
        None,
        "FILE",
        values.bundle,
        "Certificates to trust when --url is https://, in a file or a folder. Without it: those that"
        " REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE name, or the system's. Proxies are those of"
        " HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
    ),
    Setting(
        "host",
        "127.0.0.1",
        "LOOPLINE_HOST",
        "--host",
        "HOST",
        str,
        "Address that a server listens on.",
        inherited=True,
    ),
    Setting(
        "allowed_hosts",
        (),
        "LOOPLINE_ALLOWED_HOSTS",
        "--allowed-hosts",
        "NAMES",
        values.hosts,
        "Names that a server is reached by besides localhost and the addresses at which it listens, separated"
        " by commas: loopline.example.com, collector-1:8710, *.example.com. A request whose Host is none of"
        " them is refused with 421.",
        shared=False,
        inherited=True,
    ),
    Setting(
        "max_connections",
        1000,
        "LOOPLINE_MAX_CONNECTIONS",
        "--max-connections",
        "N",
        values.connections,
        "Connections that a server has at a time; one more is answered with 503 and closed.",
        shared=False,
        inherited=True,
    ),
    Setting(
        "port",
        8710,
        "LOOPLINE_PORT",
        "--port",
        "PORT",
        values.port,
        "Port that a server listens on; 0 takes a free one.",
    ),
    Setting(
        "partitions",
        1,
        "LOOPLINE_PARTITIONS",
        "--partitions",
        "N",
        values.partitions,
        "Partitions of the log. Fixed when the home is made; on Kafka until a new epoch is begun.",
    ),
    Setting(
        "replication",
        None,
        "LOOPLINE_REPLICATION",
        "--replication",
        "N",
        values.replication,
        "Copies of each topic that Kafka keeps. Without it: 3, or 1 where there are fewer brokers.",
        shared=False,
    ),
    Setting(
        "worker_port",
        8711,
        "LOOPLINE_WORKER_PORT",
        None,
        "PORT",
        values.port,
        "Port on which `loopline worker` answers /healthz, /readyz and /metrics; its --port goes before.",
    ),
    Setting(
        "insecure",
        False,
        "LOOPLINE_INSECURE",
        "--insecure",
        "",
        values.yes,
        "Allow a host that other machines can reach. There are no keys yet: anyone there may read and write.",
    ),
    Setting("json", False, "LOOPLINE_JSON", "--json", "", values.yes, "Answer with one JSON document."),
    Setting(
        "log_level",
        "info",
        "LOOPLINE_LOG_LEVEL",
        "--log-level",
        "LEVEL",
        values.level,
        f"What a server logs on standard error: {', '.join(values.LOG_LEVELS)}.",
    ),
    Setting(
        "log_format",
        "console",
        "LOOPLINE_LOG_FORMAT",
        "--log-format",
        "FORM",
        values.log_format,
        f"How a server logs, in all its processes: {' or '.join(values.LOG_FORMATS)}, a line each.",
        inherited=True,
    ),
    Setting(
        "retry_for",
        10.0,
        "LOOPLINE_RETRY_FOR",
        "--retry-for",
        "SECONDS",
        values.seconds,
        "How long to go on trying when the server cannot be reached or cannot write.",
    ),
    Setting(
        "outcome_window",
        30,
        "LOOPLINE_OUTCOME_WINDOW",
        None,
        "DAYS",
        values.days,
        "Days after an exposure in which an outcome of the same subject is attributed to it.",
    ),
    Setting(
        "maturity",
        14,
        "LOOPLINE_MATURITY",
        None,
        "DAYS",
        values.days,
        "Days after which the feedback of a day is taken as nearly complete. Later feedback still counts.",
    ),
    Setting(
        "stuck_after",
        15.0,
        "LOOPLINE_STUCK_AFTER",
        None,
        "SECONDS",
        values.seconds,
        "How long the views may stand still behind the log before /readyz answers 503, and before a worker of"
        " many gives its partitions to the others.",
    ),
    Setting(
        "hang_after",
        30.0,
        "LOOPLINE_HANG_AFTER",
        None,
        "SECONDS",
        values.seconds,
        "How long a process of a server may give no sign of life before it is ended and started again; 0: for"
        " ever.",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


def value(name: str, given: str | None = None, environ: Mapping[str, str] | None = None) -> Any:
    """The value of a setting: as given (text from a flag), else from environment, file, or its default.

    Raises BadSetting, which names the flag, variable or file and says what is allowed.
    """
    setting = BY_NAME[name]
    text, origin = _said(setting, given, os.environ if environ is None else environ)
    if text is None:
        return setting.default
    if setting.secret:
        (remember_whole if name == "kafka_password" else remember)(text)
    try:
        return setting.read(text)
    except ValueError as error:
        # What is no store's address may have its password anywhere.
        shown = origin if setting.name == "store" else f"{origin}={redacted(text)!r}"
        raise BadSetting(f"{shown} cannot be used: {error}") from None


def was_said(name: str, environ: Mapping[str, str] | None = None) -> bool:
    """Whether environment or file say something about a setting. Raises BadSetting."""
    return _said(BY_NAME[name], None, os.environ if environ is None else environ)[0] is not None


def _said(setting: Setting, given: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """What is said about a setting, and where."""
    if given is not None:
        return given, setting.flag or setting.name
    if setting.env in environ:
        return environ[setting.env], setting.env
    if setting.secret and (named := environ.get(f"{setting.env}_FILE")) is not None:
        return _secret(Path(named), f"{setting.env}_FILE"), f"{setting.env}_FILE"
    if setting.name != "config" and (path := file_in_use(environ)) is not None:
        said = read_file(path)
        if "LOOPLINE_CONFIG" not in environ:
            _check_found(path, said)
        return said.get(setting.name), f"{setting.name} in {path}"
    return None, setting.env


def _secret(path: Path, origin: str) -> str:
    """What a file holds, without the end of its line. Raises BadSetting."""
    try:
        mode = path.stat().st_mode
        secret = path.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadSetting(f"{origin}={str(path)!r} cannot be read: {reason}") from None
    if not secret:
        raise BadSetting(f"{origin}={str(path)!r} is empty")
    # A file that is mounted by itself, as container runtimes do with secrets, has its mode from outside,
    # where its folder decides who reaches it.
    if stat.S_IMODE(mode) & 0o007 and path not in _told and not os.path.ismount(path):
        _told.add(path)
        _log.warning("%s can be read by every user of this machine: chmod 600 %s", origin, path)
    return secret


_told: set[Path] = set()
_log = logging.getLogger("loopline")


def adopt_library_secrets(environ: MutableMapping[str, str]) -> None:
    """Give libraries the secrets that lie in files: PGPASSWORD from PGPASSWORD_FILE, and so on.

    Raises BadSetting.
    """
    for name in LIBRARY_SECRETS:
        named = environ.get(f"{name}_FILE")
        if named and name not in environ:
            environ[name] = _secret(Path(named), f"{name}_FILE")


# ----------------------------------------------------------------------------------------------- the file


def file_in_use(environ: Mapping[str, str]) -> Path | None:
    """The file that settings are read from, or None."""
    named = environ.get("LOOPLINE_CONFIG")
    if named is not None:
        return Path(named)
    path = Path(FILE_NAME)
    return path if path.is_file() else None


def _check_found(path: Path, said: Mapping[str, str]) -> None:
    """Raises BadSetting for what a file that was only found in the working folder may not do."""
    # A group of one's own may write to what people make by hand, on many systems.
    if (why := distrusted(path, ANYBODY)) is not None:
        raise BadSetting(f"the settings in {path} are not believed: {why}; or name the file with --config")
    opening = [name for name in OPENING if name in said]
    if opening:
        raise BadSetting(
            f"{path} sets {' and '.join(opening)}, and a file that merely lies in the working folder may not"
            " open the server to others: name the file with --config, or use the flag"
        )


def read_file(path: Path) -> dict[str, str]:
    """What a file says, as text by the settings' names. Raises BadSetting, which names unknown entries."""
    import tomllib

    try:
        said = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadSetting(f"the settings in {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is no TOML: {without_password(str(error))}") from None
    known = BY_NAME.keys() - {"config"}
    unknown = [name for name in said if name not in known]
    if unknown:
        raise BadSetting(f"{path} has {', '.join(unknown)}, and there is no such setting; {_offer(known)}")
    return {name: _as_text(content, f"{name} in {path}") for name, content in said.items()}


def _offer(known: set[str]) -> str:
    return f"there are {', '.join(sorted(known))}"


def _as_text(content: Any, origin: str) -> str:
    if isinstance(content, bool):
        return "1" if content else "0"
    if isinstance(content, list) and all(isinstance(each, str) for each in content):
        return ",".join(content)
    if not isinstance(content, str | int | float):
        raise BadSetting(f"{origin} is neither text nor a number")
    return str(content)


# ------------------------------------------------------------------------------------------------ secrets


def without_password(text: str) -> str:
    """A text, such as an address or a library's complaint about one, with what is secret in it hidden."""
    return redacted(text)
