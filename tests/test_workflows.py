"""What GitHub is told to run exists, may read only, and says which version of an action it means."""

from __future__ import annotations

import copy
import re

import pytest
import yaml
from conftest import ROOT

FOLDER = ROOT / ".github/workflows"
FLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))}
VERBS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
HOST = r"\b[\w-]+(?:\.[\w-]+)*\.(?:dev|io|com|org|net)/\S"


def commands(flow):
    """Every line that a workflow has a shell run."""
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def faults(flow):
    """What is wrong with a workflow, in words."""
    found = [] if flow.get("permissions") == {"contents": "read"} else ["may do more than read"]
    triggers = flow[True]    # YAML reads the key `on` as true
    found += ["runs strangers' code with our rights"] if "pull_request_target" in triggers else []
    for name, job in flow["jobs"].items():
        found += [f"{name} may do more than the others"] if "permissions" in job else []
        found += [f"{name} may run for ever"] if not job.get("timeout-minutes", 999) <= 180 else []
        for step in job["steps"]:
            if "uses" in step and not re.fullmatch(r"[\w-]+/[\w./-]+@(v\d+(\.\d+)*|[0-9a-f]{40})", step["uses"]):
                found.append(f"{step['uses']} names no version")
    for line in commands(flow):
        found += [f"there is no make {verb}" for verb in re.findall(r"\bmake ([\w-]+)", line) if verb not in VERBS]
        for path in re.findall(r"(?<![\w/])((?:tests|book|notebooks|zecon_lite|\.ci)/[\w./*-]+)", line):
            found += [] if list(ROOT.glob(path)) else [f"there is no {path}"]
        found += ["writes what strangers name into a command"] if "${{" in line else []
    text = yaml.safe_dump(flow)
    found += ["names a host"] if re.search(HOST, text) else []
    found += ["reads a secret"] if "secrets." in text else []
    return found


@pytest.mark.parametrize("name", FLOWS)
def test_a_workflow_runs_what_exists_and_may_only_read(name):
    assert faults(FLOWS[name]) == []


def test_there_is_one_for_changes_and_one_each_week_for_the_newest_for_links_and_for_colab():
    assert set(FLOWS) >= {"ci", "newest", "links", "colab"}
    assert {"push", "pull_request"} <= set(FLOWS["ci"][True])
    for name in ("newest", "links", "colab"):
        (moment,) = FLOWS[name][True]["schedule"]
        assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", moment["cron"]), f"{name} is not weekly"
        assert "workflow_dispatch" in FLOWS[name][True]


def test_they_call_what_readers_call():
    assert commands(FLOWS["ci"])[0] == commands(FLOWS["newest"])[0] == "make test"
    assert commands(FLOWS["links"]) == ["make book", "make linkcheck", "make assets"]
    assert "notebooks/*.ipynb" in " ".join(commands(FLOWS["colab"]))


def test_every_supported_python_reproduces_the_recorded_picture():
    job = FLOWS["ci"]["jobs"]["reproduction"]
    lowest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(int(lowest), 14)]
    assert any("tests/test_reproduction.py" in step.get("run", "") for step in job["steps"])


def test_exact_versions_are_taken_on_changes_and_the_newest_once_a_week():
    def python(name):
        (step,) = (s for s in FLOWS[name]["jobs"]["test"]["steps"] if "python-version" in s.get("with", {}))
        return step["with"]["python-version"]

    assert "(3, 11)" in (ROOT / "Makefile").read_text(), "the Python that constraints.txt was recorded with"
    assert python("ci") == "3.11" != python("newest")


def test_the_image_of_colab_is_named_by_the_repository_s_variable_alone():
    (job,) = FLOWS["colab"]["jobs"].values()
    assert job["container"] == "${{ vars.COLAB_IMAGE }}" and "COLAB_IMAGE" in job["if"]


def test_the_book_says_that_they_have_not_been_run():
    limits = (ROOT / "book/limitations.md").read_text(encoding="utf-8")
    assert "workflows" in limits and "none of them has been run" in limits


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda flow: flow.pop("permissions"), "may do more than read"),
        (lambda flow: flow["permissions"].update(contents="write"), "may do more than read"),
        (lambda flow: flow[True].update(pull_request_target=None), "strangers' code"),
        (lambda flow: flow["jobs"]["test"].update(permissions="write-all"), "more than the others"),
        (lambda flow: flow["jobs"]["test"].pop("timeout-minutes"), "for ever"),
        (lambda flow: flow["jobs"]["test"]["steps"][0].update(uses="actions/checkout@main"), "no version"),
        (lambda flow: flow["jobs"]["test"]["steps"][0].update(uses="actions/checkout"), "no version"),
        (lambda flow: flow["jobs"]["test"]["steps"][2].update(run="make coffee"), "no make coffee"),
        (lambda flow: flow["jobs"]["test"]["steps"][2].update(run="pytest tests/test_nothing.py"), "no tests/"),
        (lambda flow: flow["jobs"]["test"]["steps"][2].update(run="echo ${{ github.head_ref }}"), "strangers name"),
        (lambda flow: flow["jobs"]["test"].update(container="images.example.dev/some/image:1"), "a host"),
        (lambda flow: flow["jobs"]["test"].update(env={"KEY": "${{ secrets.KEY }}"}), "a secret"),
    ],
)
def test_a_workflow_with_a_fault_is_caught(change, fault):
    flow = copy.deepcopy(FLOWS["ci"])
    change(flow)
    assert len(faults(flow)) == 1 and fault in faults(flow)[0]
