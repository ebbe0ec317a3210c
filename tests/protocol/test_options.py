# SPDX-License-Identifier: Apache-2.0
"""Settings: precedence, kinds, error texts, help and start log (upstream-agent §3.2)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import OptionError
from fodc_protocol.options import (
    Address,
    Kind,
    Option,
    Source,
    all_of,
    between,
    describe,
    not_empty,
    not_negative,
    ports,
    positive,
    resolve,
    usage,
    wants_help,
)

OPTIONS = [
    Option("poll-metrics-interval", Kind.DURATION, "10s", "How often.", check=positive),
    Option("poll-metrics-ports", Kind.LIST, "2121", "Where.", check=all_of(not_empty, ports)),
    Option("pod-name", Kind.STRING, "", "Who."),
    Option("ktm-enabled", Kind.BOOL, "false", "Kernel."),
    Option("trigger-percent", Kind.PERCENT, "75", "When.", check=between(1, 100)),
    Option("max-artifacts", Kind.INT, "16", "How many.", check=not_negative),
    Option("max-disk-bytes", Kind.BYTES, "536870912", "How much."),
    Option("ratio", Kind.FLOAT, "0.5", "Part."),
    Option("diagnosis-listen-addr", Kind.ADDRESS, ":9091", "Listen."),
    Option("proxy-addr", Kind.ADDRESS, "", "Proxy, empty for none."),
    Option("log-level", Kind.ENUM, "info", "Log.", choices=("debug", "info", "error")),
    Option("proxy-token", Kind.STRING, "", "Token.", secret=True),
]


def settings(*argv, environ=None, file=None):
    return resolve(OPTIONS, argv, environ or {}, "FODC_AGENT", file)


def problem(*argv, environ=None, file=None):
    with pytest.raises(OptionError) as caught:
        settings(*argv, environ=environ, file=file)
    return caught.value.message


# ---- precedence -----------------------------------------------------------------------------


def test_defaults_are_read_like_any_text():
    assert settings() == {
        "poll-metrics-interval": 10.0,
        "poll-metrics-ports": ("2121",),
        "pod-name": "",
        "ktm-enabled": False,
        "trigger-percent": 75.0,
        "max-artifacts": 16,
        "max-disk-bytes": 536870912,
        "ratio": 0.5,
        "diagnosis-listen-addr": Address("", 9091),
        "proxy-addr": None,
        "log-level": "info",
        "proxy-token": "",
    }


def test_flag_wins_over_environment_over_file_over_default():
    environ = {"FODC_AGENT_POD_NAME": "env", "FODC_AGENT_RATIO": "0.2"}
    file = {"pod-name": "file", "ratio": 0.3, "max_artifacts": 3}
    resolved = settings("--pod-name=flag", environ=environ, file=file)
    names = ["pod-name", "ratio", "max-artifacts", "log-level"]
    assert [(resolved[name], resolved.origins[name]) for name in names] == [
        ("flag", Source.FLAG),
        (0.2, Source.ENVIRONMENT),
        (3, Source.FILE),
        ("info", Source.DEFAULT),
    ]


def test_empty_and_unknown_environment_variables_are_left_alone():
    """Kubernetes sets variables such as FODC_PROXY_PORT=tcp://... for a service of that name."""
    resolved = settings(environ={"FODC_AGENT_RATIO": "", "FODC_AGENT_PORT": "tcp://10.0.0.1:1"})
    assert resolved["ratio"] == 0.5


def test_typed_access():
    resolved = settings("--proxy-addr=proxy:17912")
    assert resolved.text("log-level") == "info"
    assert resolved.flag("ktm-enabled") is False
    assert resolved.integer("max-disk-bytes") == 536870912
    assert resolved.number("poll-metrics-interval") == 10.0
    assert resolved.list_of("poll-metrics-ports") == ("2121",)
    assert resolved.address("proxy-addr") == Address("proxy", 17912)
    assert settings().address("proxy-addr") is None
    with pytest.raises(TypeError, match="option log-level is a str"):
        resolved.integer("log-level")


# ---- forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--ratio", "0.25"], "ratio", 0.25),
        (["--ratio", "-1"], "ratio", -1.0),
        (["--ktm-enabled"], "ktm-enabled", True),
        (["--ktm-enabled=false"], "ktm-enabled", False),
        (["--ktm-enabled=Yes"], "ktm-enabled", True),
        (["--pod-name=a=b"], "pod-name", "a=b"),
        (["--pod-name=a", "--pod-name=b"], "pod-name", "b"),
        (["--poll-metrics-ports=1,2", "--poll-metrics-ports", "3"], "poll-metrics-ports", None),
        (["--poll-metrics-interval=1m30s"], "poll-metrics-interval", 90.0),
        (["--max-disk-bytes=64MiB"], "max-disk-bytes", 67108864),
        (["--max-disk-bytes=1.5GB"], "max-disk-bytes", 1500000000),
        (["--max-disk-bytes=1Gi"], "max-disk-bytes", 1073741824),
        (["--max-disk-bytes=0"], "max-disk-bytes", 0),
        (["--trigger-percent=80%"], "trigger-percent", 80.0),
        (["--diagnosis-listen-addr=[::1]:0"], "diagnosis-listen-addr", Address("::1", 0)),
        (["--log-level=DEBUG"], "log-level", "debug"),
    ],
)
def test_flag_forms(argv, name, value):
    assert settings(*argv)[name] == (value if value is not None else ("1", "2", "3"))


def test_file_values_of_any_plain_type():
    file = {"poll_metrics_ports": [1, "2"], "ktm-enabled": True, "ratio": 1, "pod-name": None}
    resolved = settings(file=file)
    assert resolved["poll-metrics-ports"] == ("1", "2")
    assert (resolved["ktm-enabled"], resolved["ratio"], resolved["pod-name"]) == (True, 1.0, "")


def test_address_prints_as_it_is_written():
    texts = [":9090", "host:1", "[::1]:2"]
    assert [str(settings(f"--proxy-addr={text}").address("proxy-addr")) for text in texts] == texts


# ---- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--poll-metrics-interval=0", "poll-metrics-interval must be greater than 0"),
        ("--poll-metrics-interval=-1s", "poll-metrics-interval must be greater than 0"),
        ("--poll-metrics-ports=", "poll-metrics-ports cannot be empty"),
        ("--diagnosis-listen-addr=", "diagnosis-listen-addr cannot be empty"),
        ("--trigger-percent=0", "trigger-percent must be between 1 and 100, got 0"),
        ("--trigger-percent=101", "trigger-percent must be between 0 and 100, got 101"),
    ],
)
def test_texts_of_the_existing_agent_are_kept(argument, text):
    assert problem(argument).startswith(text)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--poll-metrics-interval=10",
            (
                "poll-metrics-interval must be a duration such as 10s, 1m30s or 500ms "
                "(--poll-metrics-interval is '10')"
            ),
        ),
        ("--ktm-enabled=2", "ktm-enabled must be true or false (--ktm-enabled is '2')"),
        ("--max-artifacts=1.5", "max-artifacts must be a whole number (--max-artifacts is '1.5')"),
        ("--max-artifacts=-1", "max-artifacts must not be negative (--max-artifacts is '-1')"),
        ("--ratio=nan", "ratio must be a number (--ratio is 'nan')"),
        ("--ratio=1e999", "ratio must be a number (--ratio is '1e999')"),
        (
            "--max-disk-bytes=many",
            (
                "max-disk-bytes must be a size such as 536870912, 64MiB or 1.5GB "
                "(--max-disk-bytes is 'many')"
            ),
        ),
        (
            "--proxy-addr=localhost",
            (
                "proxy-addr must be an address such as :9090, localhost:9090 or [::1]:9090 "
                "(--proxy-addr is 'localhost')"
            ),
        ),
        (
            "--log-level=loud",
            "log-level must be one of: debug, info, error (--log-level is 'loud')",
        ),
        (
            "--poll-metrics-ports=1,x",
            (
                "poll-metrics-ports must hold ports from 1 to 65535, got 'x' "
                "(--poll-metrics-ports is '1,x')"
            ),
        ),
        (
            "--trigger-percent=x",
            "trigger-percent must be a percentage from 0 to 100 (--trigger-percent is 'x')",
        ),
    ],
)
def test_bad_value_names_flag_value_and_what_is_accepted(argument, message):
    assert problem(argument) == message


def test_bad_value_names_the_variable_or_the_file():
    assert problem(environ={"FODC_AGENT_RATIO": "x"}) == (
        "ratio must be a number (environment variable FODC_AGENT_RATIO is 'x')"
    )
    assert problem(file={"ratio": "x"}) == "ratio must be a number ('ratio' in the file is 'x')"
    assert problem(file={"ratio": {}}) == (
        "ratio in the file must be a plain value or a list of them"
    )


def test_secret_value_is_not_shown():
    def check(name, value):
        return f"{name} must not be {value}"

    option = Option("proxy-token", Kind.STRING, "", "Token.", check=check, secret=True)
    with pytest.raises(OptionError) as caught:
        resolve([option], ["--proxy-token=hunter2"], {}, "X")
    assert caught.value.message == "proxy-token must not be *** (--proxy-token is '***')"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--pod-nam=x"], "unknown flag --pod-nam; did you mean --pod-name?"),
        (["--pod_name=x"], "unknown flag --pod_name; did you mean --pod-name?"),
        (["-pod-name=x"], "unknown flag -pod-name; did you mean --pod-name?"),
        (["--zzz"], "unknown flag --zzz; see --help"),
        (["--proxy-tokem=hunter2"], "unknown flag --proxy-tokem; did you mean --proxy-token?"),
        (["--pod-name"], "pod-name needs a value: --pod-name=string"),
        (["--pod-name", "--ratio=1"], "pod-name needs a value: --pod-name=string"),
        (
            ["data"],
            (
                "unexpected argument 'data': settings are given as --name=value, "
                "switches as --name or --name=false"
            ),
        ),
    ],
)
def test_wrong_arguments_get_a_hint(argv, message):
    assert problem(*argv) == message


def test_unknown_file_key_gets_a_hint():
    assert (
        problem(file={"pod-nam": 1})
        == "unknown key 'pod-nam' in the file; did you mean 'pod-name'?"
    )


def test_all_problems_are_reported_at_once():
    assert problem("--ratio=x", "--nope", "--max-artifacts=y").splitlines() == [
        "unknown flag --nope; see --help",
        "max-artifacts must be a whole number (--max-artifacts is 'y')",
        "ratio must be a number (--ratio is 'x')",
    ]


# ---- help and log ---------------------------------------------------------------------------


def test_start_log_lists_everything_without_secrets():
    resolved = settings("--proxy-token=hunter2", "--proxy-addr=h:1", "--ktm-enabled")
    assert describe(resolved) == [
        "poll-metrics-interval=10s (default)",
        "poll-metrics-ports=2121 (default)",
        "pod-name= (default)",
        "ktm-enabled=true (flag)",
        "trigger-percent=75 (default)",
        "max-artifacts=16 (default)",
        "max-disk-bytes=536870912 (default)",
        "ratio=0.5 (default)",
        "diagnosis-listen-addr=:9091 (default)",
        "proxy-addr=h:1 (flag)",
        "log-level=info (default)",
        "proxy-token=*** (flag)",
    ]


def test_help_shows_kind_default_and_variable():
    text = usage(
        OPTIONS[:1] + OPTIONS[3:4] + OPTIONS[10:],
        "fodc-agent",
        ["fodc-agent --ktm-enabled"],
        about="Collects.",
        env_prefix="FODC_AGENT",
    )
    assert text == (
        "Usage: fodc-agent [--name=value ...]\n"
        "\n"
        "Collects.\n"
        "\n"
        "Options:\n"
        "  --poll-metrics-interval=duration\n"
        "      How often. Default 10s. [FODC_AGENT_POLL_METRICS_INTERVAL]\n"
        "  --ktm-enabled\n"
        "      Kernel. Default false. [FODC_AGENT_KTM_ENABLED]\n"
        "  --log-level=debug|info|error\n"
        "      Log. Default info. [FODC_AGENT_LOG_LEVEL]\n"
        "  --proxy-token=string\n"
        "      Token. [FODC_AGENT_PROXY_TOKEN]\n"
        "\n"
        "Examples:\n"
        "  fodc-agent --ktm-enabled\n"
    )


def test_help_is_asked_for_by_either_flag():
    assert [wants_help(argv) for argv in (["-h"], ["--x", "--help"], ["--x"], [])] == [
        True,
        True,
        False,
        False,
    ]


flags = st.one_of(
    st.text(max_size=12),
    st.builds(
        "--{}={}".format, st.sampled_from([one.name for one in OPTIONS]), st.text(max_size=12)
    ),
    st.sampled_from([f"--{one.name}" for one in OPTIONS]),
)


@given(
    st.lists(flags, max_size=4), st.dictionaries(st.sampled_from(["FODC_AGENT_RATIO"]), st.text())
)
def test_any_arguments_are_settings_or_an_option_error(argv, environ):
    with contextlib.suppress(OptionError):
        assert len(settings(*argv, environ=environ)) == len(OPTIONS)


@given(
    st.floats(-1e12, 1e12),
    st.integers(-(10**17), 10**17),
    st.lists(st.text("abc1", min_size=1, max_size=4)),
)
def test_values_read_back_what_was_written(ratio, count, items):
    options = [
        Option("ratio", Kind.FLOAT, "0", ""),
        Option("count", Kind.INT, "0", ""),
        Option("items", Kind.LIST, "", ""),
    ]
    argv = [f"--ratio={ratio!r}", f"--count={count}", f"--items={','.join(items)}"]
    assert resolve(options, argv, {}, "X") == {
        "ratio": ratio,
        "count": count,
        "items": tuple(items),
    }
