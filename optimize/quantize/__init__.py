"""How does a graph come to compute in fewer bits, and what does each node lose by it?

INT8 and FP16 are written into the ONNX graph itself: Q/DQ nodes and casts, in the form the
profile of the target asks for.
"""
