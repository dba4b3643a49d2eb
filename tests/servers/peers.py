"""Runs the checks of Tollgate against real clients and real servers. `cargo xtask peers` calls it.

    python3 peers.py --tollgate target/debug/tollgate --work EMPTY_FOLDER [--lacking COMMAND] [SUITE ...]

One line for each check on stdout; what went wrong in detail, on stderr. Exit code 1 if any failed. Needs the packages
of `requirements.txt` for some suites: `--lacking` says that they are not there, and how to get them.
"""

import argparse
import pathlib
import signal
import sys
import tempfile

import curl_checks
import embedded_checks
import facts
import fastapi_checks
import grpc_checks
import issuer_checks
import kserve_checks
import learn_checks
import llamacpp_refusals
import malformed_checks
import mlserver_checks
import nginx_back_checks
import nginx_front_checks
import sdk_checks
import triton_checks
import vllm_checks
from report import Missing, Report

SUITES = [
    curl_checks.SUITE,
    embedded_checks.SUITE,
    mlserver_checks.SUITE,
    malformed_checks.SUITE,
    nginx_front_checks.SUITE,
    nginx_back_checks.SUITE,
    fastapi_checks.SUITE,
    llamacpp_refusals.SUITE,
    sdk_checks.SUITE,
    kserve_checks.SUITE,
    triton_checks.SUITE,
    *grpc_checks.SUITES,
    learn_checks.SUITE,
    issuer_checks.SUITE,
    facts.BOMB,
    vllm_checks.SUITE,
]

# Servers that nothing here installs, and what to do about it.
GIVEN = {"vllm": "TOLLGATE_VLLM_PYTHON=…/bin/python cargo xtask peers vllm, see tests/servers/README.md"}


class Setting:
    """What all suites share: the binary, folders, and whether the packages are there."""

    def __init__(self, tollgate, work, lacking, pythons, node):
        self.tollgate, self.work, self.lacking, self.pythons, self.node = tollgate, work, lacking, pythons, node
        self.models = pathlib.Path(__file__).parents[2] / "models"

    def folder(self, name):
        """A fresh folder."""
        return pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))

    def packages(self):
        """Stops a suite that needs the packages of `requirements.txt` where they are lacking."""
        if self.lacking:
            raise Missing(self.lacking)

    def python(self, name):
        """The Python of `requirements/NAME.txt`. Those packages go with no others, so only programs run there."""
        self.packages()
        if name not in self.pythons:
            raise Missing(GIVEN.get(name, "cargo xtask peers, again where pip can reach a package index"))
        return self.pythons[name]


def main():
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--tollgate", required=True, type=pathlib.Path)
    line.add_argument("--work", required=True, type=pathlib.Path)
    line.add_argument("--lacking")
    line.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="of requirements/NAME.txt")
    line.add_argument("--node", type=pathlib.Path, help="where the packages of issuer/package.json are installed")
    line.add_argument("--limit", type=int, default=240, help="seconds for everything")
    line.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(suite.name for suite in SUITES))
    given = line.parse_args()
    unknown = set(given.suites) - {suite.name for suite in SUITES}
    if unknown:
        line.error(f"no suite is called {', '.join(sorted(unknown))}")
    # Both end the `with` blocks, so every process ends with us.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(given.limit)
    report = Report()
    pythons = dict(one.split("=", 1) for one in given.python)
    setting = Setting(given.tollgate.resolve(), given.work.resolve(), given.lacking, pythons, given.node)
    for suite in SUITES:
        if suite.name in given.suites or not (given.suites or suite.optional and suite.name not in pythons):
            suite.run(report, setting)
    return 1 if report.failed else 0


def stop(number, _frame):
    sys.exit(f"stopped by {signal.Signals(number).name}")


if __name__ == "__main__":
    sys.exit(main())
