"""Times this engine and onnxruntime on the same networks, alternating; run by compare.sh, which sets everything up.

A round measures each pair one straight after the other, whose turn is first changing from round to round; a figure is
the median over rounds of the round's median, a ratio is ours over theirs. onnxruntime runs on its CPU provider, its
sessions kept and warm. Its float networks are the shipped int8 ones with every quantization taken out and weights and
biases dequantized: the same layers and shapes in float.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

FRAME = (480, 640)  # height, width
MIN_FACE = 60
FACTOR = 0.709
WINDOW = 12  # P-Net's


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run-plan", type=Path, required=True)
    parser.add_argument("--facelatch", type=Path, help="without it, the detector is not measured")
    parser.add_argument("--plans", type=Path, required=True)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")

    loads = [os.getloadavg()]
    has_avx2 = "avx2" in subprocess.check_output([asked.run_plan, "--isas"], text=True).split()
    onnx_file = one(asked.zoo, "facenet*.onnx")
    facenet = onnx.load(onnx_file)
    plan = one(asked.plans, "facenet*.plan")
    pairs = {}
    for threads in (1, 2):
        session = Session(facenet, threads)
        pairs[f"facenet_int8_{threads}"] = (
            lambda threads=threads: run_plan(asked.run_plan, plan, threads),
            session.burst,
        )
    if has_avx2:
        floats = Session(without_quantization(facenet), 1)
        pairs["facenet_avx2"] = (lambda: run_plan(asked.run_plan, plan, 1, "avx2"), floats.burst)
    calls = None
    if asked.facelatch:
        first = bench(asked.facelatch)
        calls = {"rnet": first.get("rnet_crops", 16), "onet": first.get("onet_crops", 4), "levels": levels()}
        nets = detector(asked.zoo, calls)
        pairs["mtcnn"] = (
            lambda: {"median_ms": bench(asked.facelatch)["detect_ms"]},
            lambda: sum(net.burst() for net in nets),
        )

    ours = {name: [] for name in pairs}
    theirs = {name: [] for name in pairs}
    for number in range(asked.rounds):
        for name, (our, their) in pairs.items():
            if number % 2:
                theirs[name].append(their())
                time.sleep(0.05)  # onnxruntime's threads spin on for a while
                ours[name].append(our())
            else:
                ours[name].append(our())
                theirs[name].append(their())
                time.sleep(0.05)
            print(
                f"round {number + 1}/{asked.rounds} {name}: ours {ours[name][-1]['median_ms']:.3f} ms, "
                f"onnxruntime {theirs[name][-1]:.3f} ms",
                file=sys.stderr,
            )
    loads.append(os.getloadavg())

    def figures(name, our_key, their_key):
        if name not in pairs:
            return None
        our = statistics.median(run["median_ms"] for run in ours[name])
        their = statistics.median(theirs[name])
        return {our_key: round(our, 4), their_key: round(their, 4), "ratio": round(our / their, 4)}

    report = {
        "facenet_int8": {
            f"{threads}_thread{'s' * (threads > 1)}": figures(f"facenet_int8_{threads}", "ours_ms", "onnxruntime_ms")
            for threads in (1, 2)
        },
        "facenet_avx2": figures("facenet_avx2", "ours_ms", "onnxruntime_float_ms"),
        "peak_share": statistics.median(run["peak_share"] for run in ours["facenet_int8_1"]),
        "mtcnn": figures("mtcnn", "detect_ms", "onnxruntime_float_ms"),
        "mtcnn_calls": calls,
        "environment": {
            "cpu": cpu_model(),
            "cpus": os.cpu_count(),
            "isa": ours["facenet_int8_1"][0]["isa"],
            "load_before": loads[0],
            "load_after": loads[1],
            "rounds": asked.rounds,
            "onnxruntime": ort.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "float_networks": "the shipped int8 files without quantization",
        },
    }
    print(json.dumps(report, indent=2))


def one(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder}: {len(found)} files match {pattern}, expected one")
    return found[0]


def run_plan(program, plan, threads, isa=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FACELATCH_")}
    command = [program, plan, "--runs", "60", "--threads", str(threads)] + (["--isa", isa] if isa else [])
    return json.loads(subprocess.check_output(command, env=environment))


def bench(program):
    environment = {k: v for k, v in os.environ.items() if k not in ("FACELATCH_ISA", "FACELATCH_THREADS")}
    return json.loads(subprocess.check_output([program, "bench", "--json", "--runs", "40"], env=environment))


class Session:
    """A network in onnxruntime with its input, sizes fixed, warmed up."""

    def __init__(self, model, threads, batch=1, size=None):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        names = {"n": batch} | ({"h": size[0], "w": size[1]} if size else {})
        for name, value in names.items():
            options.add_free_dimension_override_by_name(name, value)
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        pixels = self.session.get_inputs()[0]
        shape = [names.get(side, side) for side in pixels.shape]
        self.feed = {pixels.name: np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)}
        self.burst(0.05)

    def burst(self, seconds=0.25):
        """Median milliseconds of runs in some time, at least 10."""
        times = []
        end = time.perf_counter() + seconds
        while len(times) < 10 or time.perf_counter() < end:
            started = time.perf_counter()
            self.session.run(None, self.feed)
            times.append(time.perf_counter() - started)
        return statistics.median(times) * 1e3


def levels():
    """Heights and widths of the pictures that P-Net sees of a frame."""
    scale = WINDOW / MIN_FACE
    found = []
    while min(FRAME) * scale >= WINDOW:
        found.append([math.ceil(side * scale) for side in FRAME])
        scale *= FACTOR
    return found


def detector(zoo, calls):
    """The calls that one frame makes, in float."""
    pnet, rnet, onet = (without_quantization(onnx.load(one(zoo, f"mtcnn-{net}*.onnx"))) for net in ("pnet", "rnet", "onet"))
    nets = [Session(pnet, 1, size=size) for size in calls["levels"]]
    nets.append(Session(rnet, 1, batch=calls["rnet"]))
    nets.append(Session(onet, 1, batch=calls["onet"]))
    return nets


def without_quantization(model):
    """The same network in float: quantized constants are dequantized, pairs around activations removed."""
    graph = model.graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    same = {}  # a tensor's name -> the one it is now
    quantized = set()
    nodes, used = [], []
    for node in graph.node:
        inputs = [same.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            same[node.output[0]] = inputs[0]
            quantized.add(inputs[0])
        elif node.op_type == "DequantizeLinear" and inputs[0] in constants:
            values, step, zero = (constants[name] for name in inputs)
            shape = [-1] + [1] * (values.ndim - 1) if step.ndim else []
            real = (values.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * step.reshape(shape)
            used.append(onnx.numpy_helper.from_array(real.astype(np.float32), node.output[0]))
        elif node.op_type == "DequantizeLinear" and inputs[0] in quantized:
            same[node.output[0]] = inputs[0]
        elif node.op_type == "DequantizeLinear":
            # The picture itself, u8: its step becomes the first layer's business, as in a float network.
            step, zero = (constants[name] for name in inputs[1:])
            if float(step) != 1 or int(zero) != 0:
                sys.exit(f"{node.name}: pixels are expected as they are, not scaled by {step}")
            nodes.append(onnx.helper.make_node("Cast", inputs[:1], node.output, to=onnx.TensorProto.FLOAT))
        else:
            nodes.append(onnx.helper.make_node(node.op_type, inputs, node.output, node.name))
            nodes[-1].attribute.extend(node.attribute)
    for output in graph.output:
        if output.name in same:
            nodes.append(onnx.helper.make_node("Identity", [same[output.name]], [output.name]))
    read = {name for node in nodes for name in node.input}
    used += [tensor for tensor in graph.initializer if tensor.name in read]
    floats = onnx.ModelProto()
    floats.CopyFrom(model)
    floats.graph.ClearField("node")
    floats.graph.ClearField("initializer")
    floats.graph.ClearField("value_info")
    floats.graph.node.extend(nodes)
    floats.graph.initializer.extend(used)
    onnx.checker.check_model(floats)
    return floats


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
