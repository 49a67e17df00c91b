"""Catch: a ball falls down a small image, and a paddle at the bottom has to be under it. Needs no download."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np


class Catch(gymnasium.Env[np.ndarray, np.int64]):
    """One image channel of `size` x `size` points; actions: left, stay, right; at the end +1 or -1.

    Args:
        cells: Rows and columns of the field.
        size: Of the image, a multiple of `cells`: convolutions made for Atari's want 36 at least.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, cells: int = 9, size: int = 36) -> None:
        self.cells, self.scale = cells, size // cells
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, size, size), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(3)
        self._row = self._ball = self._paddle = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new ball."""
        super().reset(seed=seed, options=options)
        self._row, self._paddle = 0, self.cells // 2
        self._ball = int(self.np_random.integers(self.cells))
        return self._image(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One row further down."""
        self._paddle = min(max(self._paddle + int(action) - 1, 0), self.cells - 1)
        self._row += 1
        ended = self._row == self.cells - 1
        reward = (1.0 if self._ball == self._paddle else -1.0) if ended else 0.0
        return self._image(), reward, ended, False, {}

    def _image(self) -> np.ndarray:
        field = np.zeros((self.cells, self.cells), np.uint8)
        field[self._row, self._ball] = field[-1, self._paddle] = 255
        return np.kron(field, np.ones((self.scale, self.scale), np.uint8))[None]
