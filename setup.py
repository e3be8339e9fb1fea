"""Installs the parts that need no ROS by `pip install .`: the engine, the kitchen, the training.

ROS 2 builds this folder from CMakeLists.txt instead.
"""

import xml.etree.ElementTree
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
package = xml.etree.ElementTree.parse(here / "package.xml").getroot()
requirements = (here / "requirements.txt").read_text().splitlines()

setup(
    name=package.findtext("name"),
    version=package.findtext("version"),
    description=" ".join(package.findtext("description", "").split()),
    license=package.findtext("license"),
    python_requires=">=3.11",
    packages=find_packages(include=["chatspot_*"]),
    package_data={
        "": ["*.json", "*.npz", "*.yaml", "*.css", "*.html", "*.js", "templates/*.jinja"]
    },
    entry_points={"console_scripts": ["chatspot = chatspot_ros.tools.cli:main"]},
    extras_require={
        # Weights in 8 or 4 bits (docs/adr/0009).
        "quantised": ["torchao>=0.18,<0.19"],
        # `chatspot mcp`, which needs rclpy, too.
        "agents": ["mcp>=2.3,<3"],
        # Behaviour trees (docs/behaviour_trees.md).
        "trees": ["py_trees>=2.3,<3"],
    },
    install_requires=[line for line in requirements if line and not line.startswith("#")],
)
