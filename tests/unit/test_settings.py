"""Settings from four places, the last one wins, and every mistake is named with where it is, the key and why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from relayd.errors import SettingsError
from relayd.machine.places import default_control
from relayd.settings import (
    Limits,
    MessageRate,
    Settings,
    changes,
    load,
    parse_listen,
    setting_paths,
    value_of,
)


@pytest.fixture
def toml(tmp_path):
    """Writes a configuration file; its path."""

    def write(text: str) -> str:
        path = tmp_path / "relayd.toml"
        path.write_text(text)
        return str(path)

    return write


def problems(file: str | None = None, environment: dict | None = None, flags: dict | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(file, environment or {}, flags or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# Where they come from. ------------------------------------------------------------------------------------------


def test_nothing_given_is_the_default():
    assert load(None, {"PATH": "/bin"}, {}) == Settings()


def test_file_environment_and_flags_in_that_order(toml):
    file = toml('log_level = "error"\n[limits]\nmax_rooms = 1\nmax_members = 100\n[timing]\nping_interval = 5\n')
    made = load(file, {"RELAYD_LIMITS_MAX_ROOMS": "2", "RELAYD_LOG_LEVEL": "debug"}, {"log_level": "info"})
    assert (made.limits.max_rooms, made.limits.max_members) == (2, 100)
    assert made.log_level == "info"
    assert made.timing.ping_interval == 5
    assert made.rooms == Settings().rooms


def test_files_of_the_directory_beside_the_file(toml, tmp_path):
    """They are read after it, in alphabetical order; the last value of a key holds, other keys of a table stay."""
    file = toml("[limits]\nmax_rooms = 1\nmax_members = 100\n[rooms]\nmax = 7\n")
    directory = tmp_path / "relayd.toml.d"
    directory.mkdir()
    (directory / "20-b.toml").write_text("[limits]\nmax_rooms = 3\n")
    (directory / "10-a.toml").write_text('log_level = "debug"\n[limits]\nmax_rooms = 2\nmax_offers = 5\n')
    for ignored in (".hidden.toml", "10-a.toml~", "10-a.toml.dpkg-old", "README"):
        (directory / ignored).write_text("this is not TOML")
    made = load(file, {}, {})
    assert (made.limits.max_rooms, made.limits.max_members, made.limits.max_offers) == (3, 100, 5)
    assert (made.rooms.max, made.log_level) == (7, "debug")
    assert load(file, {"RELAYD_LIMITS_MAX_ROOMS": "4"}, {}).limits.max_rooms == 4


def test_a_file_of_the_directory_is_named(toml, tmp_path):
    """A mistake in it, one that only the whole shows, and a file or directory that cannot be read."""
    file, directory = toml(""), tmp_path / "relayd.toml.d"
    directory.mkdir()
    wrong = directory / "a.toml"
    wrong.write_text("workers = -1\n")
    assert problems(file) == [f"{wrong}: workers: expected int >= 0"]
    wrong.write_text('public_url = "chat"\n')
    assert problems(file) == [f"{wrong}: public_url: is not like https://chat.example.org (no path)"]
    wrong.write_bytes(b"\xff")
    assert problems(file)[0].startswith(f"{wrong}: not valid TOML: ")
    wrong.unlink()
    wrong.symlink_to(tmp_path / "missing.toml")
    assert problems(file) == [f"{wrong}: cannot be read: No such file or directory"]
    wrong.unlink()
    directory.rmdir()
    directory.write_text("")
    assert problems(file) == [f"{directory}: cannot be read: Not a directory"]


def test_a_byte_order_mark(tmp_path):
    file = tmp_path / "relayd.toml"
    file.write_bytes(b"\xef\xbb\xbfworkers = 2\n")
    assert load(str(file), {}, {}).workers == 2


# What Kubernetes sets for Services named relayd, relayd-metrics and relayd-control, and Docker for a link to relayd.
SERVICE_LINKS = {
    "RELAYD_SERVICE_HOST": "10.0.0.11",
    "RELAYD_SERVICE_PORT": "8080",
    "RELAYD_SERVICE_PORT_HTTP": "8080",
    "RELAYD_PORT": "tcp://10.0.0.11:8080",
    "RELAYD_PORT_8080_TCP": "tcp://10.0.0.11:8080",
    "RELAYD_PORT_8080_TCP_PROTO": "tcp",
    "RELAYD_PORT_8080_TCP_PORT": "8080",
    "RELAYD_PORT_8080_TCP_ADDR": "10.0.0.11",
    "RELAYD_METRICS_SERVICE_HOST": "10.0.0.12",
    "RELAYD_METRICS_SERVICE_PORT_PROM": "9180",
    "RELAYD_METRICS_PORT": "tcp://10.0.0.12:9180",
    "RELAYD_CONTROL_PORT_53_UDP_ADDR": "10.0.0.13",
    "RELAYD_NAME": "/web/relayd",
    "RELAYD_ENV_LANG": "C.UTF-8",
}


@pytest.mark.parametrize("name", SERVICE_LINKS)
def test_service_links_are_no_settings(name):
    """Neither refused nor taken for a setting; a variable of an admin that looks like one is named."""
    assert load(None, {name: SERVICE_LINKS[name]}, {}) == Settings()
    assert all(f"RELAYD_{path.upper().replace('.', '_')}" != name for path, _ in setting_paths(Settings))


@pytest.mark.parametrize("name", ["RELAYD_PORT", "RELAYD_METRICS_PORT", "RELAYD_SERVICE", "RELAYD_NAME"])
def test_what_only_looks_like_a_service_link(name):
    assert problems(environment={name: "9000"}) == [f"environment: {name}: there is no such setting"]


@pytest.mark.parametrize(("path", "kind"), list(setting_paths(Settings)))
def test_every_setting_has_a_variable(path, kind):
    """And a wrong value of it is said with its path."""
    name = "RELAYD_" + path.upper().replace(".", "_")
    try:
        load(None, {name: "\x00 no value of anything"}, {})
    except SettingsError as wrong:
        named = [problem.split(": ")[:2] for problem in wrong.problems]
    else:
        named = [["environment", path]] if kind in (str, tuple[str, ...]) else []
    assert named == [["environment", path]]


def test_lists_in_the_environment_are_comma_separated():
    made = load(None, {"RELAYD_LISTEN": "127.0.0.1:1, unix:/run/x ,", "RELAYD_ALLOWED_HOSTS": ""}, {})
    assert made.listen == ("127.0.0.1:1", "unix:/run/x")
    assert made.allowed_hosts == ()


def test_paths_name_each_leaf_once():
    paths = [path for path, _ in setting_paths(Settings)]
    assert len(paths) == len(set(paths))
    assert {"listen", "limits.message_rate", "limits.message_rate.user_bytes", "rooms.resume"} <= set(paths)
    assert not {"limits", "rooms", "timing"} & set(paths)


def test_no_two_settings_share_a_variable():
    names = [path.upper().replace(".", "_") for path, _ in setting_paths(Settings)]
    assert len(names) == len(set(names))


# What they mean. ------------------------------------------------------------------------------------------------


def test_rate_as_one_number(toml):
    made = load(toml("[limits]\nmessage_rate = 5"), {}, {})
    assert made.limits.rate == MessageRate(5, 5, 0, 0, 0, 0, 0)
    assert Limits().rate == MessageRate()


def test_rate_as_a_table(toml):
    made = load(toml("[limits.message_rate]\nuser_messages = 7"), {"RELAYD_LIMITS_MESSAGE_RATE_USER_BYTES": "9"}, {})
    assert made.limits.rate == MessageRate(user_messages=7, user_bytes=9)


def test_table_replaces_a_number_of_an_earlier_layer(toml):
    made = load(toml("[limits]\nmessage_rate = 5"), {"RELAYD_LIMITS_MESSAGE_RATE_USER_BYTES": "9"}, {})
    assert made.limits.rate == MessageRate(user_bytes=9)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("*:65535", ("*", 65535)),
        ("unix:/run/relayd.sock", Path("/run/relayd.sock")),
        ("unix:/" + "x" * 106, Path("/" + "x" * 106)),
    ],
)
def test_places_to_listen(text, place):
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", ":8080", "host", "host:", "host:http", "host:65536", "host:-1", "::1:80", "[]:80"),
        *("unix:x", "unix:", "unix:/" + "x" * 107, "unix:/" + "\u00e9" * 54),
    ],
)
def test_no_places_to_listen(text):
    with pytest.raises(ValueError, match=r"neither|absolute"):
        parse_listen(text)
    assert problems(flags={"listen": [text]})[0].startswith("command line: listen: ")


def test_control_socket_is_the_users_or_the_services():
    assert default_control({"XDG_RUNTIME_DIR": "/run/user/7"}) == "/run/user/7/relayd/control.sock"
    assert default_control({"RUNTIME_DIRECTORY": "/run/a:/run/b"}) == "/run/a/control.sock"
    assert default_control({}) == default_control({"XDG_RUNTIME_DIR": ""}) == "/run/relayd/control.sock"


def test_changes_name_what_differs():
    before = load(None, {}, {"limits.max_rooms": 5, "allowed_hosts": ["a"]})
    after = load(None, {}, {"limits.max_rooms": 6, "allowed_hosts": ["a"], "limits.message_rate": 7})
    assert changes(before, before) == []
    assert changes(before, after) == [
        ("limits.message_rate", MessageRate(), 7),
        ("limits.max_rooms", 5, 6),
    ]
    assert value_of(after, "limits.max_rooms") == 6
    assert value_of(after, "rooms").resume == 60


# What is wrong with them. ---------------------------------------------------------------------------------------


def test_all_mistakes_of_all_places_at_once(toml):
    file = toml(
        'lisen = ["x"]\nlog_level = "loud"\n[limits]\nmax_rooms = -1\nmax_message = 1\n[rooms]\nresume = "60"\n'
    )
    found = problems(file, {"RELAYD_ROOMS_MAX": "0", "RELAYD_X": "1"}, {"timing.ping_interval": 0})
    assert found == [
        "environment: RELAYD_X: there is no such setting",
        f"{file}: lisen: is not a field here; did you mean listen?",
        f"{file}: log_level: may be debug or info or warning or error",
        f"{file}: limits.max_rooms: expected int >= 0",
        f"{file}: limits.max_message: expected int >= 1024",
        f"{file}: rooms.resume: expected int, got str",
        "environment: rooms.max: expected int >= 1",
        "command line: timing.ping_interval: expected float > 0.0",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("listen = []", "listen: is empty; nobody could connect"),
        ('listen = "127.0.0.1:1"', "listen: expected array, got str"),
        ('public_url = "chat.example.org"', "public_url: is not like https://chat.example.org"),
        ('public_url = "ftp://x"', "public_url: is not like"),
        ('public_url = "https://x/path"', "public_url: is not like"),
        ('public_url = "https://"', "public_url: is not like"),
        ('trusted_proxies = ["10.0.0.0/33"]', "trusted_proxies: '10.0.0.0/33' is neither"),
        ('trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies: '10.0.0.1/8' is neither"),
        ('trusted_proxies = ["proxy"]', "trusted_proxies: 'proxy' is neither"),
        ("[limits]\nmax_members = 10", "rooms.max: is higher than limits.max_members"),
        ("[limits]\nmax_outbox = 1", "limits.max_outbox: expected int >= 65536"),
        ("[timing]\nping_interval = nan", "timing.ping_interval: expected float > 0.0"),
        ("[rooms]\nresume = 61", "rooms.resume: expected int <= 60"),
        ("limits = 3", "limits: expected object, got int"),
        ("x = = 1", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file(toml, text, reason):
    file = toml(text)
    (problem,) = problems(file)
    assert problem.startswith(f"{file}: {reason}")


def test_file_that_cannot_be_read(tmp_path):
    assert problems(str(tmp_path / "none.toml")) == [f"{tmp_path}/none.toml: cannot be read: No such file or directory"]
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"')
    assert "not valid TOML" in problems(str(tmp_path / "latin.toml"))[0]


@pytest.mark.parametrize("text", ['public_url = "https://chat.example.org"', 'public_url = "http://[::1]:80/"'])
def test_public_urls(toml, text):
    assert load(toml(text), {}, {}).public_url in text


def test_trusted_proxies(toml):
    made = load(toml('trusted_proxies = ["unix:", "10.0.0.0/8", "::1", "192.0.2.7"]'), {}, {})
    assert len(made.trusted_proxies) == 4


def test_no_limit_of_members_is_no_contradiction(toml):
    assert load(toml("[limits]\nmax_members = 0\n[rooms]\nmax = 100000"), {}, {}).rooms.max == 100_000


def test_number_and_table_in_one_environment():
    environment = {"RELAYD_LIMITS_MESSAGE_RATE": "5", "RELAYD_LIMITS_MESSAGE_RATE_USER_BYTES": "9"}
    assert problems(environment=environment)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        Settings().log_level = "debug"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Settings()), type=Settings) == Settings()


# Layers together. -----------------------------------------------------------------------------------------------


def test_contradiction_between_layers_is_a_settings_error(toml):
    """Each place is fine by itself; together they are not."""
    assert "rooms.max" in problems(toml("[rooms]\nmax = 100"), {"RELAYD_LIMITS_MAX_MEMBERS": "60"})[0]


def test_layers_that_agree_only_together_are_fine(toml):
    made = load(toml("[rooms]\nmax = 5"), {"RELAYD_LIMITS_MAX_MEMBERS": "10"}, {})
    assert (made.rooms.max, made.limits.max_members) == (5, 10)


def test_public_url_that_cannot_be_parsed_is_named(toml):
    assert "public_url: " in problems(toml('public_url = "http://["'))[0]


@pytest.mark.parametrize("path", ["timing.ping_interval", "timing.join_timeout", "rooms.leave_grace"])
def test_infinite_times_are_refused(toml, path):
    table, _, key = path.partition(".")
    assert path in problems(toml(f"[{table}]\n{key} = inf"))[0]


def test_number_and_table_in_one_environment_in_the_other_order():
    problems(environment={"RELAYD_LIMITS_MESSAGE_RATE_USER_BYTES": "9", "RELAYD_LIMITS_MESSAGE_RATE": "5"})
