"""CUDA without a framework: the runtime library, device memory, NVML, kernels of our own."""
