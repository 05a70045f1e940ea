"""Networks with memory: LSTM and GRU of one layer, two layers and both directions, and a net for streamed sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS"]


class SequenceClassifier(nn.Module):
    """A recurrent layer on (batch, steps, features), then a linear layer on its last step or on the mean of all."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU, *, takes_mean: bool = False) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.takes_mean = takes_mean
        directions = 2 if recurrent.bidirectional else 1
        self.head = nn.Linear(directions * recurrent.hidden_size, 10)

    def forward(self, sequence: Tensor) -> Tensor:
        steps, _ = self.recurrent(sequence)
        return self.head(steps.mean(1) if self.takes_mean else steps[:, -1])


class StreamingAudio(nn.Module):
    """A chunk of sound and the state after the chunk before it give a value per frame and the state after this one."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(1, 16, 16, 8, 4),
            nn.ReLU(),
            nn.Conv1d(16, 32, 5, 2, 2, bias=False),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Conv1d(32, 24, 3, 2, 1),
            nn.ReLU(),
        )
        self.memory = nn.LSTM(24, 32)
        self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, sound: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frames = self.frames(sound).permute(2, 0, 1)
        steps, (hn, cn) = self.memory(frames, (h0, c0))
        return torch.sigmoid(self.head(steps)).permute(1, 0, 2), hn, cn


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "lstm_1": lambda: SequenceClassifier(nn.LSTM(12, 32, batch_first=True)),
    "lstm_2": lambda: SequenceClassifier(nn.LSTM(12, 32, 2, batch_first=True)),
    "lstm_bi": lambda: SequenceClassifier(nn.LSTM(12, 32, batch_first=True, bidirectional=True), takes_mean=True),
    "gru_1": lambda: SequenceClassifier(nn.GRU(12, 32, batch_first=True)),
    "gru_2": lambda: SequenceClassifier(nn.GRU(12, 32, 2, batch_first=True)),
    "gru_bi": lambda: SequenceClassifier(nn.GRU(12, 32, batch_first=True, bidirectional=True), takes_mean=True),
    "streaming_audio": StreamingAudio,
}
