"""Checking and preprocessing recorded scans, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from g2vlm_fast.data.readers import ReadOptions, ScanError
from g2vlm_fast.data.scans.check import check_scan
from g2vlm_fast.data.scans.preprocess import Outcome, preprocess_scans, write_checked
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.scan_config import CheckConfig, PreprocessConfig, ScanOptions

NOT_RIGHT = 1
"""Exit status of a check that found something wrong, and of a batch in which a scan failed."""


def read_options(config: ScanOptions) -> ReadOptions:
    """The options of the readers.

    Raises:
        ConfigError: names the option that is out of range.
    """
    given = {field.name: getattr(config, field.name) for field in fields(ScanOptions)}
    try:
        return ReadOptions(**given)
    except ValueError as error:
        name = next((name for name in given if f" {name} " in str(error)), "")
        option = "--" + name.replace("_", "-")
        raise ConfigError(f"{option} {str(error).partition(f' {name} ')[2]}") from error


def check(config: CheckConfig, say: Callable[[str], None]) -> int:
    """Check a scan and say what was found.

    Args:
        config: the scan.
        say: told one sentence after the other.

    Returns:
        0 where the scan is right, or was mended and written; else ``NOT_RIGHT``.

    Raises:
        ConfigError: an option is out of range.
        ScanError: the scan cannot be read at all, or nothing explains it and it is to be mended.
        OutputError: ``config.fix`` may not be replaced or cannot be written.
    """
    if config.overwrite and config.fix is None:
        raise ConfigError("--overwrite says what to do at --fix, which was not given")
    found = check_scan(config.scan, read_options(config))
    for sentence in found.describe():
        say(sentence)
    if config.fix is not None:
        outcome = write_checked(found, config.scan, config.fix, overwrite=config.overwrite)
        say(f"Written: {outcome.out}. {outcome.changes[-1]}")
        return 0
    if found.changes:
        say("The files were left as they are; --fix FOLDER writes the scan mended.")
    return 0 if found.is_right else NOT_RIGHT


def preprocess(config: PreprocessConfig, say: Callable[[str], None]) -> int:
    """Preprocess scans and say what became of each.

    Returns:
        0 where all were written; else ``NOT_RIGHT``.

    Raises:
        ConfigError: an option is out of range.
        ScanError: no scan was named.
    """
    options = read_options(config)
    if not config.scans:
        raise ScanError(config.out, "gets nothing", "Name at least one folder of a scan")

    def tell(outcome: Outcome) -> None:
        if outcome.failed:
            say(f"{outcome.scan}: failed. {outcome.error}")
        else:
            say(f"{outcome.scan}: written to {outcome.out}. {' '.join(outcome.changes)}")

    outcomes = preprocess_scans(
        config.scans, config.out, options=options, overwrite=config.overwrite, on_outcome=tell
    )
    failed = [outcome for outcome in outcomes if outcome.failed]
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} scans were written.")
    return NOT_RIGHT if failed else 0
