"""Train the recurrent networks motif_*.onnx, whose accuracy the tests of recovery compare. By hand; needs torch.

cd tests && python -m models.make_motif_models
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from models.motifs import CHANNELS, MOTIFS, motif_signals
from torch import Tensor, nn

FOLDER = Path(__file__).parent
UNITS, BATCH, UPDATES, PEAK_RATE = 28, 64, 900, 6e-3


class MotifNet(nn.Module):
    """(batch, steps, channels) to logits, from the last step or, in both directions, from the mean of all."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(UNITS * (2 if recurrent.bidirectional else 1), MOTIFS)

    def forward(self, signal: Tensor) -> Tensor:
        steps, _ = self.recurrent(signal)
        return self.head(steps.mean(1) if self.recurrent.bidirectional else steps[:, -1])


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, bidirectional, layer, layers in (("lstm", False, nn.LSTM, 2), ("gru", True, nn.GRU, 1)):
        torch.manual_seed(0)
        network = MotifNet(layer(CHANNELS, UNITS, layers, batch_first=True, bidirectional=bidirectional))
        train(network)
        signals, labels = motif_signals(4000, seed=2)
        with torch.no_grad():
            right = (network(torch.from_numpy(signals)).argmax(1).numpy() == labels).mean()
        path = FOLDER / f"motif_{name}.onnx"
        example = torch.from_numpy(signals[:2])
        axes = {"signal": {0: "batch"}, "logits": {0: "batch"}}
        torch.onnx.export(
            network.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["signal"],
            output_names=["logits"],
            dynamic_axes=axes,
        )
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {"source": f"torch {torch.__version__.split('+')[0]} legacy"})
        onnx.save(model, path)
        sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes, {100 * right:.1f} % of {len(labels)} right\n")


def train(network: nn.Module) -> None:
    signals, labels = motif_signals(20_000, seed=1)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=UPDATES)
    random = np.random.default_rng(0)
    for _ in range(UPDATES):
        chosen = random.integers(0, len(signals), BATCH)
        logits = network(torch.from_numpy(signals[chosen]))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()


if __name__ == "__main__":
    main()
