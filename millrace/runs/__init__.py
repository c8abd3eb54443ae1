"""Training runs as the log tells them: read, compared, and put into the words of other tools. Pure.

``fold`` puts the events of a run together, ``compare`` sets runs side by side, ``record`` opens a run's record, and
``mlflow`` says a run as MLflow has it.
"""
