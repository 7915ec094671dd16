"""Write the fixtures of Stable-Baselines3 with agents that hardly learn, and what its own functions read of them.

In an environment of its own, once a release::

    pip install stable-baselines3==2.9.2 pandas
    pip install 'torch<2.3' 'numpy<2' stable-baselines3==2.0.0 pandas
    python -P tests/data/sources/make/sb3.py tests/data/sources

Folders: ``sb3-<release>``. ``zoo`` has the settings as the package's zoo of trained agents writes them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import DummyVecEnv


class Success(gym.Wrapper):
    """Tells whether a step was an odd one."""

    def step(self, action: Any) -> Any:
        """Step."""
        observation, reward, is_over, is_cut, info = self.env.step(action)
        return observation, reward, is_over, is_cut, info | {"is_success": bool(abs(observation[0]) > 0.05)}


def main(out: str) -> None:
    """Write one folder of fixtures."""
    import yaml

    top = Path(out).resolve() / f"sb3-{stable_baselines3.__version__}"
    shutil.rmtree(top, ignore_errors=True)
    train(top / "one", n_envs=1)
    train(top / "zoo", n_envs=3)
    settings = top / "zoo" / "CartPole-v1"
    settings.mkdir()
    pairs = OrderedDict([("batch_size", 32), ("learning_rate", "lin_0.001"), ("n_steps", 64), ("policy", "MlpPolicy")])
    (settings / "config.yml").write_text(yaml.dump(pairs))
    (settings / "args.yml").write_text(yaml.dump(OrderedDict([("algo", "ppo"), ("seed", 5), ("env", "CartPole-v1")])))
    (top / "expected.json").write_text(json.dumps({"runs": [said(top, name) for name in ("one", "zoo")]}))


def train(folder: Path, n_envs: int) -> None:
    """Train."""
    folder.mkdir(parents=True)

    def make(number: int) -> Any:
        name = "monitor.csv" if n_envs == 1 else f"{number}.monitor.csv"
        told = () if n_envs == 1 else ("is_success",)
        return Monitor(Success(gym.make("CartPole-v1")), str(folder / name), info_keywords=told)

    env = DummyVecEnv([lambda number=number: make(number) for number in range(n_envs)])
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=5)
    model.set_logger(configure(str(folder), ["csv"]))
    call = EvalCallback(Monitor(gym.make("CartPole-v1")), log_path=str(folder), eval_freq=128, n_eval_episodes=2)
    model.learn(768, callback=call)


def said(top: Path, name: str) -> dict[str, Any]:
    """Return what the package's own functions and pandas read."""
    import pandas as pd

    frame = load_results(str(top / name))
    steps = frame["l"].cumsum().tolist()
    curves: dict[str, Any] = {}
    for column, ours in (("r", "episode/reward"), ("l", "episode/length"), ("is_success", "episode/is_success")):
        if column not in frame:
            continue
        frame[column] = frame[column].astype(float)
        curves[ours] = {"steps": steps, "values": frame[column].tolist(), "times": frame["t"].tolist()}
    progress = pd.read_csv(top / name / "progress.csv")
    for column in progress.columns:
        some = progress[["time/total_timesteps", column]].dropna() if column != "time/total_timesteps" else None
        if some is not None and column != "time/time_elapsed":
            curves[column] = {
                "steps": some["time/total_timesteps"].astype(int).tolist(),
                "values": some[column].tolist(),
            }
    told = np.load(top / name / "evaluations.npz")
    steps = told["timesteps"].tolist()
    for key, values in (
        ("eval/mean_reward", told["results"].mean(axis=1)),
        ("eval/std_reward", told["results"].std(axis=1)),
        ("eval/mean_ep_length", told["ep_lengths"].mean(axis=1)),
    ):
        curves.setdefault(key, {"steps": steps, "values": values.tolist()})
    return {"name": name, "curves": curves}


if __name__ == "__main__":
    main(*sys.argv[1:])
