"""The task of lstm.rs in PyTorch, one thread: prints processor ms a training step, ms a forward pass, the last loss."""

import sys
import time

import torch

torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[1]))
levels = torch.arange(1, 10) / 10.0


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, 64, batch_first=True)
        self.head = torch.nn.Linear(64, 9)

    def forward(self, inputs):
        states, _ = self.lstm(inputs)
        return self.head(states[:, -1])


def draw():
    phases = torch.rand(64, 1) * 6.283
    return torch.sin(phases + 0.1 * torch.arange(96.0)).unsqueeze(-1), torch.sin(phases + 10.7)


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def train():
    inputs, targets = draw()
    errors = targets - model(inputs)
    loss = torch.maximum(levels * errors, (levels - 1) * errors).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


for _ in range(10):
    train()
start = time.process_time()
for _ in range(200):
    loss = train()
step = (time.process_time() - start) / 200 * 1e3

inputs, _ = draw()
with torch.no_grad():
    model(inputs)
    start = time.process_time()
    for _ in range(50):
        model(inputs)
print(step, (time.process_time() - start) / 50 * 1e3, loss.item())
