"""Installs `dg-reid`, which is imported as `reid`. It is published nowhere: install this folder, or a wheel built from it.

The compiled kernels are optional: without a compiler the same results come from numpy.
"""

from pathlib import Path

from setuptools import Extension, find_packages, setup

# Every `_name.c` below reid/ is one extension module. `optional` lets the installation go on where none can be built.
KERNELS = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        depends=[str(header) for header in sorted(Path("reid").glob("_*.h"))],
        extra_compile_args=["-O3"],
        optional=True,
    )
    for path in sorted(Path("reid").rglob("_*.c"))
]

setup(
    name="dg-reid",  # there is another `reid` on PyPI
    version="0.1.0",
    description="Domain-generalization person re-identification: train on several sources, score sets never seen.",
    license="Apache-2.0",
    python_requires=">=3.10",
    # The recipes lie at the top of the checkout and inside the installed package.
    packages=[*find_packages(include=["reid", "reid.*"]), "reid.configs"],
    package_dir={"reid.configs": "configs"},
    package_data={"reid": ["py.typed", "data/splits/*", "**/_*.pyi"], "reid.configs": ["**/*.yaml"]},
    entry_points={"console_scripts": ["reid = reid.commands:main"]},
    ext_modules=KERNELS,
    install_requires=[
        "torch>=2.6",  # 2.6 trains and scores; its ONNX exporter fails on our networks
        "torchvision",
        "timm>=1.0.9",
        # The same module from two builds; faiss-gpu also runs where there is no GPU.
        'faiss-gpu>=1.9; platform_system == "Linux" and platform_machine == "x86_64"',
        'faiss-cpu>=1.9; platform_system != "Linux" or platform_machine != "x86_64"',
        "opencv-python>=4.11",
        "numpy>=1.26",
        "scipy>=1.11.4",
        "yacs>=0.1.8",
        "pyyaml>=6.0.1",
        "safetensors>=0.4.3",
        "tqdm>=4.66",
        "tensorboard>=2.16.2",
    ],
    extras_require={
        "data": ["h5py"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "plot": ["matplotlib"],
        "dev": ["pytest", "pytest-xdist", "hypothesis", "pytorch-metric-learning", "ruff", "mypy"],
    },
)
