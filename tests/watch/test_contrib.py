"""The dashboard and the alerts ask for what is there."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from tests.watch.conftest import ROOT

ALERTS = ROOT / "contrib/prometheus/alerts.yml"
DASHBOARD = json.loads((ROOT / "contrib/grafana/relayd.json").read_text())
GRAFANAS = {"$__rate_interval": "5m", "$job": "relayd", "$instance": ".+"}

_NAME = re.compile(r"\b(?:relayd|process)_[a-z_]+")


def rules():
    return yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]


def asked_by_dashboard():
    """Every question of a panel, an annotation and a variable, as Grafana sends it."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    asked += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    variables = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    asked += [re.fullmatch(r"label_values\((.+), \w+\)", one["query"])[1] for one in variables]
    for name, value in GRAFANAS.items():
        asked = [question.replace(name, value) for question in asked]
    return asked


@pytest.mark.parametrize(
    "questions", [asked_by_dashboard(), [rule["expr"] for rule in rules()]], ids=["dashboard", "alerts"]
)
def test_every_metric_is_exported(watched, questions):
    """By a running daemon, with the labels that are asked for."""
    assert len(questions) > 10
    watched.wait(lambda: watched.value("relayd_workers") == 2)
    exported = watched.samples()
    names = {name for name, _ in exported}
    for question in questions:
        assert set(_NAME.findall(re.sub(r'"[^"]*"', "", question))) <= names, question
        for labels in re.findall(r"by \(([\w, ]+)\)", question):
            metric = _NAME.search(question)[0]
            having = {label for name, of in exported if name == metric for label, _ in of}
            assert set(labels.split(", ")) - {"instance"} <= having, question


def test_every_reason_is_one(watched):
    """A reason or outcome that an alert waits for is counted under that name."""
    known = {value for _, labels in watched.samples() for name, value in labels if name in ("reason", "outcome")}
    for rule in rules():
        for values in re.findall(r'(?:reason|outcome)[!=]~?"([^"]+)"', rule["expr"]):
            assert set(values.split("|")) <= known, rule["alert"]


def test_promtool_takes_the_alerts(promtool):
    _succeeds(promtool, "check", "rules", ALERTS)


def test_promtool_takes_the_questions_of_the_dashboard(promtool, tmp_path):
    """It reads rules only, so each question is made one."""
    made = [{"record": f"question:{number}", "expr": question} for number, question in enumerate(asked_by_dashboard())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": made}]}))
    _succeeds(promtool, "check", "rules", tmp_path / "rules.yml")


def test_each_alert_comes_when_it_should(promtool, tmp_path):
    """All of them in a bad course of things, and none in a quiet one."""
    written = (ROOT / "tests/watch/alerts_test.yml").read_text()
    assert all(f'alertname="{rule["alert"]}"' in written for rule in rules())
    (tmp_path / "test.yml").write_text(written.replace("[ALERTS]", f"[{ALERTS}]"))
    _succeeds(promtool, "test", "rules", tmp_path / "test.yml")


def test_alerts_say_what_to_do():
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_panels_stand_beside_each_other():
    """Each has a number, a title and a place of its own, within Grafana's 24 columns."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["title"]
        taken |= cells


def _succeeds(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
