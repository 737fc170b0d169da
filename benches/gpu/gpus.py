"""Peak speed of GPUs in dense bf16 products with fp32 sums, by the name that the driver gives."""

# TFLOP/s of NVIDIA's data sheets, without sparsity. The first pattern contained in the name counts.
PEAKS = (
    ("H200 NVL", 835.0),
    ("H200", 989.0),
    ("GH200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.0),
    ("B200", 2250.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("RTX 4090", 165.0),
    ("RTX 3090", 71.0),
)


def peak_tflops(name):
    """None if the GPU is not in the table, or if the name is that of a part of one (MIG)."""
    if not name or "MIG" in name:
        return None
    return next((peak for pattern, peak in PEAKS if pattern in name), None)


def utilisation(tflops, name):
    """Model FLOPs utilisation: the share of the peak that the model's own products reach."""
    peak = peak_tflops(name)
    return None if peak is None or tflops is None else tflops / peak
