"""Tables of what tests have shown: faults put into the code, faults around it, the main job."""

from __future__ import annotations

from mutation_list import MUTATIONS
from table_format import code, last, markdown, records


def mutations() -> str:
    """The last whole run, whose outcomes are in the order of `MUTATIONS`; files by the names that they have now."""
    outcomes: dict[str, list[dict[str, str]]] = {}
    for outcome in last("mutations")["outcomes"]:
        outcomes.setdefault(outcome["note"], []).append(outcome)
    cells = []
    for each in MUTATIONS:
        if outcomes.get(each.note):
            outcome = outcomes[each.note].pop(0)
            cells.append(
                [
                    f"`{each.file.removeprefix('samunet/')}`",
                    each.note,
                    "survived" if each.survived_first else "killed",
                    outcome["state"],
                    code(outcome["by"]),
                ]
            )
    return markdown(["file", "fault", "when first tried", "now", "by"], cells)


def faults() -> str:
    """The last run of the fault harness, by kind."""
    return _by_kind("faults")


def corpus() -> str:
    """The last run of the whole corpus of bad input, by what is bad."""
    return _by_kind("corpus")


def _by_kind(counted: str) -> str:
    """The last record that counts `counted`."""
    table = [record for record in records("faults") if counted in record][-1]["table"]
    columns = list(next(iter(table.values())))
    total = {name: sum(row[name] for row in table.values()) for name in columns}
    return markdown(
        ["kind", *columns], [[kind, *(row[name] for name in columns)] for kind, row in {**table, "all": total}.items()]
    )


def main_job() -> str:
    return markdown(
        ["shows", "command", "figure", "commit"],
        [
            [record["shows"], _command(record["command"]), record["figure"], f"`{record['commit'][:7]}`"]
            for record in records("main_job")
        ],
    )


def _command(command: str) -> str:
    return command if command.startswith("the ") else f"`{command}`"


def shown_by_tests() -> str:
    """What each test has shown, at the last commit that recorded it."""
    youngest = {record["shows"]: record for record in records("shown_by_tests")}
    return markdown(
        ["shows", "command", "figure", "commit"],
        [
            [record["shows"], f"`{record['command']}`", record["figure"], f"`{record['commit'][:7]}`"]
            for record in youngest.values()
        ],
    )


TABLES = {
    "mutations": mutations, "faults": faults, "corpus": corpus, "main job": main_job, "shown by tests": shown_by_tests,
}
