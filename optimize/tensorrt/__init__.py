"""From an ONNX graph to a TensorRT engine: request, shapes, builder, report."""
