"""The shapes that people know from other trackers, over our own runs.

``import advisor as wandb`` runs scripts written for W&B (``wandb`` and the modules named after it), and
``from advisor.compat import mlflow`` those written for MLflow. Nothing of either tracker is imported, and nothing is
sent anywhere. docs/coming-from-wandb-and-mlflow.md lists what is kept, what is not, and where we differ.
"""
