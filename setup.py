"""Installs `reid`. The compiled kernels are optional: without a compiler the same results come from numpy."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

# Every `_name.c` below reid/ is one extension module. `optional` lets the installation go on where none can be built.
KERNELS = [
    Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=["-O3"], optional=True)
    for path in sorted(Path("reid").rglob("_*.c"))
]

setup(
    name="reid",
    version="0.1.0",
    description="Domain-generalization person re-identification: train on several sources, score sets never seen.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["reid", "reid.*"]),
    package_data={"reid": ["data/splits/*"]},
    ext_modules=KERNELS,
    install_requires=[
        "torch>=2.4",
        "torchvision",
        "timm>=1.0",
        # The same module from two builds; faiss-gpu also runs where there is no GPU.
        'faiss-gpu>=1.9; platform_system == "Linux" and platform_machine == "x86_64"',
        'faiss-cpu>=1.9; platform_system != "Linux" or platform_machine != "x86_64"',
        "opencv-python",
        "numpy",
        "scipy",
        "yacs",
        "tqdm",
        "tensorboard",
    ],
    extras_require={
        "data": ["h5py"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "plot": ["matplotlib"],
        "dev": ["pytest", "pytest-xdist", "hypothesis", "pytorch-metric-learning", "ruff", "mypy"],
    },
)
