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
    python_requires=">=3.10",  # the lowest versions are tried on 3.10, tests/tools/test_floors.py; 3.13 trains too
    # The recipes lie at the top of the checkout and inside the installed package.
    packages=[*find_packages(include=["reid", "reid.*"]), "reid.configs"],
    package_dir={"reid.configs": "configs"},
    package_data={
        "reid": ["py.typed", "data/splits/*", "shipped/*.pth", "pages/templates/*", "**/_*.pyi"],
        "reid.configs": ["**/*.yaml"],
    },
    entry_points={"console_scripts": ["reid = reid.commands:main"]},
    ext_modules=KERNELS,
    install_requires=[
        "torch>=2.7.0",  # 2.6 trains and scores; its ONNX exporter fails on our networks
        "timm>=1.0.9",  # which brings torchvision
        # Not faiss-gpu: it asks for CUDA packages of one version, and torch for those of another. Nothing here runs it on a GPU.
        "faiss-cpu>=1.9.0",
        "opencv-python>=4.11.0.86",
        "numpy>=1.26.0",
        "scipy>=1.11.4",
        "yacs>=0.1.8",
        "pyyaml>=6.0.1",
        "safetensors>=0.4.3",
        "tqdm>=4.66.0",
        "jinja2>=3.1.0",
        "tensorboard>=2.16.2",
    ],
    extras_require={
        "data": ["h5py"],
        "export": ["onnx>=1.17.0", "onnxscript>=0.7.2", "onnxruntime>=1.20.1"],  # as tried with torch 2.7.0
        "openvino": ["openvino", "nncf"],
        "plot": ["matplotlib"],
        "milvus": ["pymilvus>=2.5"],
        "search": ["optuna>=5"],
        "dev": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "optuna>=5",
            "pytorch-metric-learning",
            "torchvision",
            "selenium",
            "ruff",
            "mypy",
        ],
    },
)
