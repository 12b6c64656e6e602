"""How an exported file is called: the order of its inputs and outputs, and whether it loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np


def in_model_order(tflite: bytes, input_names: Sequence[str], output_names: Sequence[str]) -> bytes:
    """Return the file with its inputs and outputs in the order of these names.

    The converter sorts them by name, so a model with several of them would be fed, and read, in another order than
    its own. Only the two lists of tensor numbers are permuted; nothing else in the file moves.

    Args:
        tflite: a file with one signature that has exactly these names, or none.
        input_names: in the wanted order.
        output_names: in the wanted order.
    """
    from ai_edge_litert import schema_py_generated as schema

    if len(input_names) == len(output_names) == 1:
        return tflite
    content = bytearray(tflite)
    model = schema.Model.GetRootAs(content, 0)
    if not model.SignatureDefsLength():
        return tflite  # without a signature the converter keeps the order of the function
    signature, graph = model.SignatureDefs(0), model.Subgraphs(model.SignatureDefs(0).SubgraphIndex())
    inputs = {signature.Inputs(i).Name().decode(): signature.Inputs(i).TensorIndex() for i in range(len(input_names))}
    outputs = {
        signature.Outputs(i).Name().decode(): signature.Outputs(i).TensorIndex() for i in range(len(output_names))
    }
    _overwrite(graph.InputsAsNumpy(), [inputs[name] for name in input_names])
    _overwrite(graph.OutputsAsNumpy(), [outputs[name] for name in output_names])
    return bytes(content)


def _overwrite(vector: np.ndarray, values: Sequence[int]) -> None:
    if sorted(vector.tolist()) != sorted(values):
        raise ValueError(f"the signature names the tensors {sorted(values)}, the graph {sorted(vector.tolist())}")
    vector[:] = values


def named_samples(tflite: bytes, arrays: Sequence[np.ndarray] | None) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Return what gives one sample after the other, by the names that the file's signature has for its inputs.

    Args:
        tflite: a float32 file with one signature, its inputs in the order of the model.
        arrays: for each input (n, *input_shape); None: no samples.
    """
    from ai_edge_litert.interpreter import Interpreter

    def each() -> Iterator[dict[str, np.ndarray]]:
        interpreter = Interpreter(model_content=tflite)
        details = interpreter.get_input_details()
        named = next(iter(interpreter._get_full_signature_list().values()))["inputs"]
        names = {number: name for name, number in named.items()}
        for index in range(len(arrays[0]) if arrays else 0):
            yield {
                names[detail["index"]]: array[index : index + 1].astype(detail["dtype"])
                for detail, array in zip(details, arrays or (), strict=True)
            }

    return each


def has_loop(tflite: bytes) -> bool:
    """True where the file goes through a sequence step by step (a WHILE operation)."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(tflite, 0)
    codes = {model.OperatorCodes(index).BuiltinCode() for index in range(model.OperatorCodesLength())}
    return schema.BuiltinOperator.WHILE in codes
