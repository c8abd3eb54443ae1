"""River's Hoeffding trees, alone or together, as one ONNX tree ensemble.

Each leaf gives its classes' shares (or its mean), times the weight of its tree; the sum over the trees is divided by
its own total, which is what river's ensembles do. A feature that is missing takes the branch that most rows took while
the tree learned. Only leaves that answer with a constant can be written: ``leaf_prediction`` must be ``"mc"`` for a
classifier and ``"mean"`` for a regressor; the defaults keep a naive Bayes or linear model in each leaf.

A threshold is a double and the features are float32: it is rounded down to the next float32, and then no float32 value
lies between the two.

References:
    P. Domingos, G. Hulten: Mining high-speed data streams, KDD 2000. A. Bifet et al.: New ensemble methods for evolving
    data streams, KDD 2009. H. M. Gomes et al.: Adaptive random forests, Machine Learning 106, 2017.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto
from river import ensemble, forest, tree
from river.tree.nodes.branch import DTBranch, NumericBinaryBranch

from services.trainer.train.search.river_linear import Builder
from services.trainer.train.task import FitError

ALONE = (tree.HoeffdingTreeClassifier, tree.ExtremelyFastDecisionTreeClassifier, tree.HoeffdingTreeRegressor)
BAGS = (
    ensemble.BaggingClassifier,
    ensemble.ADWINBaggingClassifier,
    ensemble.LeveragingBaggingClassifier,
    ensemble.BaggingRegressor,
)
TREES = {one.__name__: one for one in (*ALONE, *BAGS, forest.ARFClassifier)}
CONSTANT_LEAVES = {"HoeffdingTreeRegressor": "mean"}  # of all others "mc"


class Leaf(NamedTuple):
    """``weights`` by the index of the class, or of the one value."""

    weights: dict[int, float]


class Split(NamedTuple):
    """``left`` and ``right`` are positions in the tree's list of nodes."""

    feature: int
    threshold: float
    missing_left: bool
    left: int
    right: int


class Forest(NamedTuple):
    """Trees as lists of nodes, the root first. ``targets`` is the number of classes, 1 for a regression."""

    trees: tuple[tuple[Leaf | Split, ...], ...]
    targets: int
    classifier: bool


def tree_problem(model: Any) -> str | None:
    """Why a tree or ensemble cannot be written, up to the verb; None if it can."""
    inner = model if isinstance(model, (*ALONE, forest.ARFClassifier)) else model.model
    name = type(inner).__name__
    if not isinstance(inner, (*ALONE, forest.ARFClassifier)):
        return f"{type(model).__name__} of {name} is not"
    wanted = CONSTANT_LEAVES.get(name, "mc")
    if inner.leaf_prediction != wanted:
        return f"{name} with leaf_prediction {inner.leaf_prediction!r} ({wanted!r} can) is not"
    if inner.nominal_attributes:
        return f"{name} with nominal_attributes {inner.nominal_attributes} (all features are numbers) is not"
    return None


def forest_of(model: Any, classes: int, names: tuple[str, ...]) -> Forest:
    """The trees as they stand now.

    Raises:
        FitError: a split is none that compares one feature with one threshold.
    """
    weighted = list(_members(model))
    share = 1.0 if classes else 1.0 / len(weighted)  # a regression is the mean over the trees
    position = {name: at for at, name in enumerate(names)}
    trees = tuple(tuple(_nodes(one._root, weight * share, position)) for one, weight in weighted)  # noqa: SLF001  # no public way
    return Forest(trees, classes or 1, classifier=bool(classes))


def forest_scores(graph: Builder, trees: Forest, features: str, scores: str) -> None:
    """Add the ensemble: probabilities of the classes, or the value, in double precision."""
    total = graph.node(
        "TreeEnsembleRegressor", [features], "sums", domain="ai.onnx.ml", **_attributes(trees), **_SETTINGS
    )
    if not trees.classifier:
        graph.node("Cast", [total], scores, to=TensorProto.DOUBLE)
        return
    sums = graph.node("Cast", [total], "double_sums", to=TensorProto.DOUBLE)
    whole = graph.node("ReduceSum", [sums, graph.constant("axes", np.array([1], dtype=np.int64))], "whole", keepdims=1)
    zero, even = graph.constant("zero", np.float64(0.0)), graph.constant("even", np.float64(1.0 / trees.targets))
    shares = graph.node("Div", [sums, whole], "shares")
    graph.node("Where", [graph.node("Greater", [whole, zero], "any"), shares, even], scores)


def _members(model: Any) -> Iterator[tuple[Any, float]]:
    """Each tree with its weight in the vote."""
    if isinstance(model, forest.ARFClassifier):
        for at, one in enumerate(model):
            metric = 0.0 if model.disable_weighted_vote else float(model._metrics[at].get())  # noqa: SLF001  # no public way
            yield one, metric if metric > 0 else 1.0
    elif isinstance(model, BAGS):
        yield from ((one, 1.0) for one in model)
    else:
        yield model, 1.0


def _nodes(root: Any, weight: float, position: dict[str, int]) -> list[Leaf | Split]:
    """The tree in order of depth, parents first. A tree that has learned nothing is one leaf that says nothing."""
    nodes: list[Leaf | Split] = []
    waiting: list[tuple[Any, int | None, int]] = [(root, None, 0)]
    while waiting:
        node, parent, side = waiting.pop()
        at = len(nodes)
        if parent is not None:
            nodes[parent] = nodes[parent]._replace(**{("left", "right")[side]: at})  # type: ignore[arg-type]
        if isinstance(node, DTBranch):
            nodes.append(_split(node, position))
            waiting += [(node.children[1], at, 1), (node.children[0], at, 0)]
        else:
            nodes.append(_leaf(node, weight))
    return nodes


def _split(node: Any, position: dict[str, int]) -> Split:
    if not isinstance(node, NumericBinaryBranch):
        raise FitError(
            f"this river model cannot be served: a split of the kind {type(node).__name__} is not written as ONNX; use "
            "a splitter that compares with one threshold, such as the default"
        )
    single = np.float32(node.threshold)
    if float(single) > node.threshold:
        single = np.nextafter(single, np.float32(-np.inf))
    side: int = node.most_common_path()[0]  # type: ignore[no-untyped-call]  # river publishes some types, not these
    return Split(position[node.feature], float(single), side == 0, 0, 0)


def _leaf(node: Any, weight: float) -> Leaf:
    said = {} if node is None else node.prediction({}, tree=None)
    if isinstance(said, dict):
        return Leaf({int(label): share * weight for label, share in said.items()})
    return Leaf({0: float(said) * weight})


_SETTINGS = {"aggregate_function": "SUM", "post_transform": "NONE"}


def _attributes(trees: Forest) -> dict[str, Any]:
    """The parallel lists that ONNX wants: one entry for each node, and one for each weight of a leaf."""
    every = [(number, at, node) for number, nodes in enumerate(trees.trees) for at, node in enumerate(nodes)]
    splits = [node if isinstance(node, Split) else None for _, _, node in every]
    weights = [
        (number, at, target, node.weights.get(target, 0.0))
        for number, at, node in every
        if isinstance(node, Leaf)
        for target in range(trees.targets)
    ]
    return {
        "n_targets": trees.targets,
        "nodes_treeids": [number for number, _, _ in every],
        "nodes_nodeids": [at for _, at, _ in every],
        "nodes_modes": ["BRANCH_LEQ" if split else "LEAF" for split in splits],
        "nodes_featureids": [split.feature if split else 0 for split in splits],
        "nodes_values": [split.threshold if split else 0.0 for split in splits],
        "nodes_truenodeids": [split.left if split else 0 for split in splits],
        "nodes_falsenodeids": [split.right if split else 0 for split in splits],
        "nodes_missing_value_tracks_true": [int(split.missing_left) if split else 0 for split in splits],
        "target_treeids": [number for number, _, _, _ in weights],
        "target_nodeids": [at for _, at, _, _ in weights],
        "target_ids": [target for _, _, target, _ in weights],
        "target_weights": [weight for _, _, _, weight in weights],
    }
