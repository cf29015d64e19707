"""The same measurements from Python, on a module built by hand."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import landscape

inputs, targets = load_breast_cancer(return_X_y=True)
inputs = (inputs - inputs.mean(0)) / inputs.std(0)
x = torch.tensor(inputs, dtype=torch.float64)
y = torch.tensor(targets, dtype=torch.float64)[:, None]

torch.manual_seed(0)
module = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1)).double()
objective = landscape.Objective(module, "bce", (x, y))

run = landscape.train(objective, epochs=20, lr=0.1, momentum=0.9, batch_size=32)
start, end = (
    objective.point({name: torch.from_numpy(values) for name, values in run.states[label].items()}, label)
    for label in ("init", "final")
)

line = landscape.interpolate(objective, start, end)
spectrum = landscape.hessian(objective, end, top_k=3)
print(f"loss {run.final_loss:.4f}, monotone from init to final: {line.is_monotone}")
for value, residual in zip(spectrum.eigenvalues, spectrum.residuals, strict=True):
    print(f"λ = {value:.6f} ± {residual:.1e}")
landscape.save(line, "line.h5")
landscape.plot(line, "line.png")
