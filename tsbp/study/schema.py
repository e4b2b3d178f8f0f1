"""JSON Schema of records: settings come from the configurations, what was measured from the classes here.

``python -m tsbp.study.schema`` writes it to ``results/schema/``, a file for each kind of record.
"""

import json
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic takes that of the library from Python 3.12 on

from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.bench import BenchConfig
from tsbp.runs import config, files, records
from tsbp.runs.settings import CellConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig

Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Compared = list[float | None]
Times = dict[str, list[float]]


class Provenance(TypedDict):
    """When and where something ran, and with what."""

    finished: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    device_name: str
    threads: Annotated[int, Field(ge=1)]
    platform: str
    versions: dict[str, str | None]
    git_commit: str | None
    git_dirty: bool | None


class Epoch(TypedDict):
    """What is measured of an epoch; accuracies where it is their turn, the rest where gradients are compared."""

    loss: float
    seconds: float
    test_accuracy: NotRequired[Percent]
    validation_accuracy: NotRequired[Percent]
    cosine_leak: NotRequired[Compared]
    length_leak: NotRequired[Compared]
    cosine_spatial: NotRequired[Compared]
    length_spatial: NotRequired[Compared]
    averaged_cosine_leak: NotRequired[dict[str, float]]
    averaged_cosine_spatial: NotRequired[dict[str, float]]


class Training(TypedDict):
    """Of ``tsbp train``: measured on the test set or, while settings are chosen, on examples held out."""

    test_accuracy: NotRequired[Percent]
    best_epoch_test_accuracy: NotRequired[Percent]
    n_test: NotRequired[int]
    validation_accuracy: NotRequired[Percent]
    best_epoch_validation_accuracy: NotRequired[Percent]
    n_validation: NotRequired[int]
    right: NotRequired[str]
    """Which examples were right, see :func:`tsbp.runs.records.unpacked`; older records have none."""
    tested: NotRequired[str]
    """Under cross-validation, which of all examples were tested, packed as ``right`` is."""
    epoch_metrics: Annotated[list[Epoch], Field(min_length=1)]
    data_note: str
    data_fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    n_train: int
    n_parameters: int
    compiled: bool
    processes: Annotated[int, Field(ge=1)]
    wall_time: float


class Cell(TypedDict):
    """Of ``tsbp cell``: ``[gradient][learning rate][seed]``, null for a network that broke down."""

    test_accuracies: NotRequired[list[list[list[Percent | None]]]]
    n_test: NotRequired[int]
    validation_accuracies: NotRequired[list[list[list[Percent | None]]]]
    n_validation: NotRequired[int]
    right_answers: NotRequired[list[list[list[str | None]]]]
    """Which test examples were right, packed as a training's ``right`` is."""
    tested: NotRequired[str]
    losses: list[list[list[float | None]]]
    """Mean over the last epoch of training."""
    firing_rates: list[list[list[list[Share] | None]]]
    """Spikes in a time step of a neuron, for each layer, on the examples measured on."""
    broke_down: list[list[list[int]]]
    """Epoch in which the loss or its gradient became NaN or infinite; 0 for none."""
    data_note: str
    data_fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    n_train: int
    n_parameters: int
    """Of one network."""
    wall_time: float


class Toy(TypedDict):
    """Of ``tsbp toy``: ``[gradient][learning rate]`` and, of the first two, iteration; of the next two, repeat."""

    loss_mean: list[list[list[float]]]
    loss_std: list[list[list[float]]]
    final_loss: list[list[list[float]]]
    converged: list[list[list[int]]]
    silent_fraction: list[list[Share]]
    diverged_fraction: list[list[Share]]


class Bench(TypedDict):
    """Of ``tsbp bench``, by candidate."""

    seconds: Times
    peak_bytes: dict[str, int]
    kept_bytes: dict[str, int]
    agreement: dict[str, float]
    left_out: dict[str, str]
    copy_bandwidth: float
    first_call_seconds: float
    peer_versions: dict[str, str]
    processes: NotRequired[dict[str, Times]]
    floor_fraction: NotRequired[dict[str, float]]


class Agreement(TypedDict):
    """Of ``tsbp agreement``, by library."""

    distances: dict[str, dict[str, float]]
    length_ratios: NotRequired[dict[str, dict[str, float]]]
    cosines: NotRequired[dict[str, dict[str, float]]]
    growth: NotRequired[dict[str, float]]
    soft_reset: list[str]
    settings: NotRequired[dict[str, str]]
    left_out: NotRequired[dict[str, str]]
    peer_versions: dict[str, str]


CONFIGURATIONS: dict[str, type[config.Config]] = {
    kind.kind: kind for kind in (TrainingConfig, CellConfig, ToyConfig, BenchConfig, AgreementConfig)
}
"""Kind of record → its settings."""
RESULTS: dict[str, Any] = {
    "train": Training,
    "cell": Cell,
    "toy": Toy,
    "bench": Bench,
    "agreement": Agreement,
}
"""Kind of record → what it holds beside its settings."""


def of(kind: str) -> dict[str, Any]:
    """JSON Schema of the records of a kind: ``train``, ``cell``, ``toy``, ``bench`` or ``agreement``."""
    name = f"{kind}-{records.SCHEMA_VERSION}"
    head = {"schema": {"const": name}, "kind": {"const": kind}, "identity": {"type": "string"}}
    head["command"] = {"type": "string"}
    where, results = (TypeAdapter(part).json_schema() for part in (Provenance, RESULTS[kind]))
    found = head | where["properties"] | _settings(CONFIGURATIONS[kind]) | results["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "type": "object",
        "properties": {key: {k: v for k, v in entry.items() if k != "title"} for key, entry in found.items()},
        "required": [*head, *where["required"], *results["required"]],  # a setting may be younger than the record
        "additionalProperties": False,
        "$defs": results.get("$defs", {}),
    }


def _settings(configuration: type[config.Config]) -> dict[str, Any]:
    """Each setting as strict JSON has it, which knows no infinity."""
    found = configuration.model_json_schema()["properties"]
    for name, field in configuration.model_fields.items():
        found[name] = {key: value for key, value in found[name].items() if key not in ("option", "title")}
        ends = [getattr(limit, end, None) for limit in field.metadata for end in ("le", "lt", "allow_inf_nan")]
        if field.annotation is float and all(end is None for end in ends):
            found[name] = {"anyOf": [found[name], {"const": "Infinity"}]}
        if name != "surrogate" and (choices := config.choices(field)):  # plugins add surrogates
            found[name]["enum"] = choices
    return found


if __name__ == "__main__":
    for kind in RESULTS:
        path = records.results_folder() / "schema" / f"{kind}-{records.SCHEMA_VERSION}.json"
        files.write_text(path, json.dumps(of(kind), indent=1, ensure_ascii=False) + "\n")
        print(path)
