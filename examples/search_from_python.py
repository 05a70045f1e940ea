"""The whole journey from Python, cell by cell as in a notebook: look, search, choose, export, measure.

    cd examples/fashion_mnist && python ../search_from_python.py

reads edgepareto.toml of the current folder and writes into a new folder, python_study/. No board is needed: the devices
of that file are simulated, and every result says so.
"""

# %% What can be pruned in the model, and what cannot
from pathlib import Path

from edgepareto.host.api import export, inspect, load_study, profile, prune, search

MODEL, STUDY = Path("mobilenet.onnx"), Path("python_study")

analysis = inspect(MODEL)
print(f"{MODEL}: {analysis.parameters:,} parameters in {len(analysis.groups)} groups that can be pruned")
for group in analysis.frozen:
    print(f"  {group.name} stays as it is: {group.reason}")

# %% One even cut, repaired on unlabelled images, without any board
half = prune(MODEL, "half.onnx", ratio=0.5, settings="edgepareto.toml")
print(f"half of every group: {half.parameters / analysis.parameters:.0%} of the parameters in {half.file}")

# %% The search: a short one here, 24 candidates per device. A study that exists goes on where it stopped.
study = search(
    MODEL,
    settings="edgepareto.toml",
    study=STUDY,
    devices=["pi1"],
    measurements=24,
    population=8,
    preset="quick",
    min_accuracy=0.8,
    resume=STUDY.exists(),
)

# %% The front of one device, fastest first
for point in study.front("pi1").points:
    latency, energy = point.measurement.latency_s, point.measurement.energy_j
    joules = "" if energy is None else f", {energy.value * 1e3:.2f} mJ"
    print(f"  {point.candidate.id}: {point.accuracy:.1%} at {latency.value * 1e3:.3f} ms{joules}")

# %% A picture, a page, and a table for pandas where it is installed
study.write_png(STUDY / "fronts.png")
study.write_html(STUDY / "fronts.html")

# %% The best compromise as a file with a card, read from the stored study alone
chosen = export(load_study(STUDY), STUDY / "knee.onnx", device="pi1", pick="knee")
print(f"{chosen.model} and {chosen.card}")

# %% Measured once more beside the dense model
for result in profile([MODEL, chosen.model], devices=["pi1"], preset="quick", settings="edgepareto.toml"):
    assert result.job.latency is not None, result.job.message
    simulated = " (simulated)" if result.job.simulated else ""
    print(f"{result.model}: {result.job.latency.median_s.value * 1e3:.3f} ms on {result.device.name}{simulated}")
