"""Trains `digits_cnn`: which digit an 8x8 grey image shows.

The images are scikit-learn's bundled copy of the UCI test set of handwritten digits: whole numbers 0 to 16. The
division by 16 is part of the graph, so that a caller sends what the scanner gave.
"""
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from demo_model import FLOAT, GraphBuilder, HeldOut, Workspace, publish

SEED, EPOCHS, BATCH = 20, 25, 64
SIDE, WHITE = 8, 16


def initial(key):
    """He-style random weights; the names are those of the graph's constants."""
    shapes = {"stroke": (16, 1, 3, 3), "curve": (32, 16, 3, 3), "hidden": (512, 64), "digit": (64, 10)}
    weights = {}
    for (name, shape), part in zip(shapes.items(), jax.random.split(key, len(shapes))):
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        weights[name] = jax.random.normal(part, shape) * np.sqrt(2 / fan_in)
        weights[f"{name}_bias"] = jnp.zeros(shape[0] if len(shape) == 4 else shape[1])
    return weights


def logits(weights, images):
    for layer in ("stroke", "curve"):
        images = jax.lax.conv_general_dilated(images, weights[layer], (1, 1), "SAME")
        images = jax.nn.relu(images + weights[f"{layer}_bias"].reshape(1, -1, 1, 1))
    window = (1, 1, 2, 2)
    pooled = jax.lax.reduce_window(images, -jnp.inf, jax.lax.max, window, window, "VALID")
    flat = pooled.reshape(len(images), -1)
    return jax.nn.relu(flat @ weights["hidden"] + weights["hidden_bias"]) @ weights["digit"] + weights["digit_bias"]


def train(images, labels):
    weights = initial(jax.random.PRNGKey(SEED))
    optimiser = optax.adamw(2e-3, weight_decay=1e-3)

    def mean_loss(weights, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(weights, images), labels).mean()

    @jax.jit
    def step(weights, state, images, labels):
        updates, state = optimiser.update(jax.grad(mean_loss)(weights, images, labels), state, weights)
        return optax.apply_updates(weights, updates), state

    state, shuffle = optimiser.init(weights), np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        order = shuffle.permutation(len(images))
        for batch in np.split(order[: len(order) // BATCH * BATCH], len(order) // BATCH):
            weights, state = step(weights, state, images[batch], labels[batch])
    return {name: np.asarray(value) for name, value in weights.items()}


def graph(weights):
    g = GraphBuilder()
    for name, value in weights.items():
        g.constant(name, value)
    g.constant("white", np.array(WHITE, np.float32))
    flow = g.add("Div", "image", "white", to="scaled")
    for layer in ("stroke", "curve"):
        flow = g.add("Conv", flow, layer, f"{layer}_bias", to=f"{layer}_map", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        flow = g.add("Relu", flow, to=f"{layer}_on")
    flow = g.add("MaxPool", flow, to="pooled", kernel_shape=[2, 2], strides=[2, 2])
    flow = g.add("Flatten", flow, to="flat")
    flow = g.add("Relu", g.add("Gemm", flow, "hidden", "hidden_bias", to="hidden_sum"), to="hidden_on")
    flow = g.add("Gemm", flow, "digit", "digit_bias", to="logits")
    g.add("Softmax", flow, to="probabilities", axis=1)
    return g


def main():
    workspace = Workspace()
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.astype(np.float32).reshape(-1, 1, SIDE, SIDE)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=0.25, random_state=SEED, stratify=labels)
    weights = train(seen / WHITE, seen_labels)
    path = graph(weights).write(workspace.out / "digits_cnn.onnx", ("image", FLOAT, ["N", 1, SIDE, SIDE]),
                                ("probabilities", FLOAT, ["N", 10]))
    publish(path, HeldOut(unseen, unseen_labels), {
        "task": "which digit an 8x8 grey image of handwriting shows",
        "input": {"name": "image", "datatype": "FP32", "shape": ["N", 1, SIDE, SIDE], "range": [0, WHITE],
                  "meaning": "ink per pixel, whole numbers, 0 is paper"},
        "output": {"name": "probabilities", "datatype": "FP32", "shape": ["N", 10]},
        "labels": [str(digit) for digit in range(10)],
        "data": {
            "source": "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI data set 80), the 1,797 "
                      "images bundled with scikit-learn 1.9.1",
            "licence": "UCI publishes the data set under CC BY 4.0; scikit-learn is BSD-3-Clause",
            "split": "one stratified random split, a quarter held out; the samples are its first 100",
        },
    })


if __name__ == "__main__":
    main()
