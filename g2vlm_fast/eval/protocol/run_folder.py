"""Where an evaluation grows: begun once, filled scene by scene, by several processes at once."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from g2vlm_fast._info import __version__
from g2vlm_fast.eval.protocol.identity import RunIdentity
from g2vlm_fast.eval.protocol.predictions import write_system
from g2vlm_fast.eval.protocol.record_files import record_to_json, rows_to_json, summary_to_json
from g2vlm_fast.eval.protocol.records import Row, SceneRecord, Summary
from g2vlm_fast.eval.protocol.runs import (
    FORMAT,
    PREDICTIONS,
    RETRIEVAL_FILE,
    RUN_FILE,
    SCENES,
    SUMMARY_FILE,
    VERSION,
    RunError,
    is_run,
    missing_scenes,
    read_identity,
    record_path,
)
from g2vlm_fast.eval.protocol.systems import System
from g2vlm_fast.files import write_text


class RunFolder:
    """The folder of an evaluation that may not be finished.

    Every file in it is there whole or not at all. Processes do not wait for each other: what two
    of them write at once is the same.
    """

    def __init__(self, path: Path, identity: RunIdentity) -> None:
        self.path = path
        self.identity = identity

    @staticmethod
    def open(out: Path, system: System, identity: RunIdentity, *, overwrite: bool) -> RunFolder:
        """Begin a run, or go on with one that was begun.

        Args:
            out: of the run.
            system: who is judged.
            identity: of the run.
            overwrite: delete an evaluation that is there; anything else is never deleted.

        Raises:
            RunError: ``out`` holds another run, or something that is no evaluation.
            OSError: it cannot be written.
        """
        out = out.resolve()
        if overwrite and is_run(out):
            aside = Path(
                tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".replaced", dir=out.parent)
            )
            os.replace(out, aside)
            shutil.rmtree(aside, ignore_errors=True)
        if not (out / RUN_FILE).exists():
            _begin(out, system, identity)
        begun, _ = read_identity(out)
        differences = begun.differences(identity)
        if differences:
            raise RunError(
                f"{out}: holds another evaluation ({'; '.join(differences)}); name another --out, "
                "or pass --overwrite"
            )
        for folder in (PREDICTIONS, SCENES):
            (out / folder).mkdir(exist_ok=True)
        return RunFolder(out, identity)

    @property
    def predictions(self) -> Path:
        """The folder of the predictions."""
        return self.path / PREDICTIONS

    def has_record(self, name: str) -> bool:
        """Whether a scene is done."""
        return record_path(self.path, name).is_file()

    def has_retrieval(self) -> bool:
        """Whether the scenes have ranked each other."""
        return (self.path / RETRIEVAL_FILE).is_file()

    def missing(self) -> list[str]:
        """The scenes that are not done."""
        return missing_scenes(self.path, self.identity)

    def write_record(self, record: SceneRecord) -> None:
        """Write the record of a scene, which is done then."""
        _put(record_path(self.path, record.name), record_to_json(record))

    def write_retrieval(self, rows: Mapping[str, Mapping[str, Row]]) -> None:
        """Write the sums of the scores for which all scenes rank each other."""
        values = {name: rows_to_json(name, row) for name, row in rows.items()}
        _put(self.path / RETRIEVAL_FILE, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def write_summary(self, summary: Summary) -> None:
        """Write the numbers, which ends the run; what killed processes left is cleared away."""
        for folder in (self.predictions, self.path / SCENES):
            for left in folder.glob(".*"):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)
        _put(self.path / SUMMARY_FILE, summary_to_json(summary))


def _begin(out: Path, system: System, identity: RunIdentity) -> None:
    """Let the folder of a new run appear, unless another process is quicker."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: exists and is no evaluation; name another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        draft.chmod(0o755)
        (draft / SCENES).mkdir()
        (draft / PREDICTIONS).mkdir()
        write_system(draft / PREDICTIONS, system)
        whole = {
            "format": FORMAT,
            "version": VERSION,
            "identity": identity.to_json(),
            "versions": _versions(),
        }
        write_text(draft / RUN_FILE, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        os.rename(draft, out)  # fails where another run is, as its folder is not empty
    except OSError:
        if not (out / RUN_FILE).is_file():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(path: Path, text: str) -> None:
    """Write a file that another process may be writing at the same time."""
    draft = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        write_text(draft, text)
        os.replace(draft, path)
    except FileNotFoundError:  # whoever ended the run cleared the draft away
        if not path.is_file():
            raise


def _versions() -> dict[str, Any]:
    import numpy
    import torch

    from g2vlm_fast.profiling.hardware import device_name

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "g2vlm-fast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": platform.platform(),
        "processor": device_name("cpu"),
        **({"gpu": device_name("cuda")} if torch.cuda.is_available() else {}),
    }
