"""A folder of predictions, of whatever system, as a system."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from g2vlm_fast.data.interchange import ARRAY_FILE, JSON_FILE, ScenePrediction, read_prediction
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.predictions import (
    FAILURE_FILE,
    SYSTEM_FILE,
    kept,
    predicted_tasks,
    read_system,
)
from g2vlm_fast.eval.protocol.systems import PredictionFailed, Task

_SHOWN = 3


class SavedPredictions:
    """Predictions that somebody made elsewhere or earlier, one folder for each scene.

    Whose they are and what they attempt is what ``system.json`` says; without that file it is the
    one name that all predictions give, and every task that any of them has something for.

    Args:
        folder: of the predictions.
        scenes: names of the cases that they will be asked about.

    Raises:
        ScanError: the folder holds no prediction, those of a scene that will not be asked about,
            or those of several systems, or of one without a name.
    """

    def __init__(self, folder: Path | str, scenes: Sequence[str]) -> None:
        self.folder = Path(folder)
        self._scenes = tuple(scenes)
        self._check_scenes()
        said = read_system(self.folder)
        self.name, self.tasks, self.looks_at_truth = said or self._read_off()
        if not self.name.strip() or not self.name.isprintable():
            raise ScanError(
                self.folder,
                f"the name of a system must be a line of text, got {self.name!r:.80}",
                f"Write it into {SYSTEM_FILE} or into every {JSON_FILE}",
            )

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all files."""
        digest = hashlib.sha256()
        paths = [self.folder / SYSTEM_FILE] + [
            self.folder / scene / name
            for scene in sorted(self._scenes)
            for name in (JSON_FILE, ARRAY_FILE, FAILURE_FILE)
        ]
        for path in paths:
            if path.is_file():
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.relative_to(self.folder)} {content}\n".encode())
        return digest.hexdigest()[:16]

    def predict(self, case: Case) -> ScenePrediction:
        """Read what was said of a case.

        Raises:
            PredictionFailed: nothing was, or its files are damaged.
        """
        try:
            return kept(self.folder, case.name)
        except ScanError as error:
            raise PredictionFailed(str(error)) from error

    def _check_scenes(self) -> None:
        if not self.folder.is_dir():
            raise ScanError(self.folder, "is no folder", "Name a folder of predictions")
        found = {
            path.name
            for path in self.folder.iterdir()
            if path.is_dir() and not path.name.startswith(".")
        }
        remedy = "Name the benchmark that they are of, or take them out of the folder"
        if not found & set(self._scenes):
            raise ScanError(
                self.folder,
                f"holds no prediction of any of the {len(self._scenes)} scenes that are asked "
                f"about, such as {self._scenes[0]!r}",
                remedy,
            )
        extra = sorted(found - set(self._scenes))
        if extra:
            shown = ", ".join(map(repr, extra[:_SHOWN])) + ", ..." * (len(extra) > _SHOWN)
            raise ScanError(
                self.folder,
                f"holds scenes that are not asked about, {len(extra)} in all ({shown})",
                remedy,
            )

    def _read_off(self) -> tuple[str, frozenset[Task], bool]:
        names: set[str] = set()

        def readable() -> Iterator[ScenePrediction]:
            for scene in self._scenes:
                try:
                    prediction = read_prediction(self.folder / scene)
                except ScanError:  # a failure, when it is asked for
                    continue
                names.add(prediction.system)
                yield prediction

        tasks = predicted_tasks(readable())
        if not tasks:
            raise ScanError(
                self.folder,
                "holds no prediction that can be read and says anything",
                "Write predictions as docs/datasets.md says",
            )
        if len(names) > 1:
            raise ScanError(
                self.folder,
                f"holds predictions of several systems ({', '.join(sorted(names)[:_SHOWN])})",
                "Give each a folder of its own",
            )
        return names.pop(), tasks, False
