"""Networks with memory: LSTM and GRU of one layer, two layers and both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "lstm_1": lambda: SequenceClassifier(nn.LSTM(12, 32, batch_first=True)),
    "lstm_2": lambda: SequenceClassifier(nn.LSTM(12, 32, 2, batch_first=True)),
    "lstm_bi": lambda: SequenceClassifier(nn.LSTM(12, 32, batch_first=True, bidirectional=True), takes_mean=True),
    "gru_1": lambda: SequenceClassifier(nn.GRU(12, 32, batch_first=True)),
    "gru_2": lambda: SequenceClassifier(nn.GRU(12, 32, 2, batch_first=True)),
    "gru_bi": lambda: SequenceClassifier(nn.GRU(12, 32, batch_first=True, bidirectional=True), takes_mean=True),
}
