"""Small fake trees of the sets that lists describe, and full-size ones, for which folders are links to a few real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from person_trees import plant
from scipy import io


def write(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def spread(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole numbers that differ by at most one."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def stock(root: Path, size: int) -> Path:
    """A folder of the pictures 0.jpg, 1.jpg, ..., to be linked to under many names."""
    return plant(root / "stock", (f"{i}.jpg" for i in range(size)))


def shelve(folder: Path, names: Iterable[str], pictures: Path) -> None:
    """Makes every folder named, each a link to `pictures`: 60,000 pictures of 2,500 folders cost 2,500 links."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(pictures)


# ---- each set


def cub200(folder: Path, names: Sequence[str]) -> Path:
    """The two lists; the class is the number that a folder's name begins with."""
    write(folder / "images.txt", (f"{i} {name}" for i, name in enumerate(names, 1)))
    write(folder / "image_class_labels.txt", (f"{i} {int(name[:3])}" for i, name in enumerate(names, 1)))
    write(folder / "train_test_split.txt", (f"{i} {i % 2}" for i, _ in enumerate(names, 1)))
    return folder


def cars_mat(folder: Path, classes: Sequence[int]) -> Path:
    """cars_annos.mat as it is released: a (1, N) array of records, each value an array of its own."""
    fields = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
    table = np.empty((1, len(classes)), [(field, object) for field in fields])
    for i, number in enumerate(classes):
        table[0, i] = (f"car_ims/{i + 1:06d}.jpg", *(np.array([[v]], np.uint16) for v in (1, 2, 30, 40, number, i % 2)))
    folder.mkdir(parents=True, exist_ok=True)
    io.savemat(str(folder / "cars_annos.mat"), {"annotations": table, "class_names": np.array(["a", "b"], object)})
    return folder


def cars_csv(folder: Path, halves: dict[str, Sequence[int]]) -> Path:
    """The repacked form: a folder a model, numbers that begin anew in either half."""
    for half, classes in halves.items():
        names = [f"{i:05d}.jpg" for i, _ in enumerate(classes, 1)]
        write(folder / f"anno_{half}.csv", (f"{n},1,2,30,40,{c}" for n, c in zip(names, classes, strict=True)))
        plant(folder / "car_data/car_data" / half, (f"Model {c}/{n}" for n, c in zip(names, classes, strict=True)))
    return folder


def sop(folder: Path, halves: dict[str, Sequence[tuple[int, str]]]) -> Path:
    """The two lists out of (class, path); image numbers run on."""
    number = 0
    for half, rows in halves.items():
        lines = ["image_id class_id super_class_id path"]
        for pid, path in rows:
            number += 1
            lines.append(f"{number} {pid} 1 {path}")
        write(folder / f"Ebay_{half}.txt", lines)
    return folder


def inshop(file: Path, rows: Sequence[tuple[str, int, str]]) -> Path:
    """The list out of (path, item, part), with columns filled up by blanks as in the release."""
    lines = [f"{path:<60} id_{item:08d} {part}" for path, item, part in rows]
    write(file, [str(len(rows)), "image_name item_id evaluation_status", *lines])
    return file


def vehicleid(folder: Path, lists: dict[str, Sequence[tuple[int, int]]]) -> Path:
    """Lists out of (picture, vehicle)."""
    for name, rows in lists.items():
        write(folder / "train_test_split" / f"{name}.txt", (f"{picture:07d} {vehicle}" for picture, vehicle in rows))
    return folder


# ---- the same at full size


def full_cub200(root: Path) -> Path:
    """11,788 pictures of 200 species."""
    species = [f"{number:03d}.Bird" for number in range(1, 201)]
    shelve(root / "CUB_200_2011/images", species, stock(root, 59))
    sizes = zip(species, spread(11_788, 200), strict=True)
    return cub200(root / "CUB_200_2011", [f"{name}/{i}.jpg" for name, size in sizes for i in range(size)])


def full_cars196(root: Path) -> Path:
    """8,054 pictures of 98 models and 8,131 of 98 others, repacked: to write a .mat file of so many takes 10 s."""
    classes = [1 + i % 98 for i in range(8_054)] + [99 + i % 98 for i in range(8_131)]
    return cars_csv(root / "cars196", {"train": classes[::2], "test": classes[1::2]})


def full_sop(root: Path) -> Path:
    """59,551 pictures of 11,318 things and 60,502 of 11,316 others, in twelve folders."""
    folder, kinds = root / "Stanford_Online_Products", [f"kind{number}_final" for number in range(12)]
    shelve(folder, kinds, stock(root, 10_005))
    paths = (f"{kind}/{i}.jpg" for kind in kinds for i in range(10_005))
    halves, first = {}, 1
    for half, classes, images in (("train", 11_318, 59_551), ("test", 11_316, 60_502)):
        halves[half] = [(first + i % classes, next(paths)) for i in range(images)]
        first += classes
    return sop(folder, halves)


def full_inshop(root: Path) -> Path:
    """25,882 pictures of 3,997 garments; 14,218 and 12,612 of 3,985 others; not in a folder each, as in the release."""
    kinds = [f"img/WOMEN/Kind{number}" for number in range(6)]
    shelve(root / "inshop", kinds, stock(root, 8_786))
    paths = (f"{kind}/{i}.jpg" for kind in kinds for i in range(8_786))
    rows = []
    for part, first, classes, images in (
        ("train", 1, 3_997, 25_882),
        ("query", 3_998, 3_985, 14_218),
        ("gallery", 3_998, 3_985, 12_612),
    ):
        rows += [(next(paths), first + i % classes, part) for i in range(images)]
    return inshop(root / "inshop/Eval/list_eval_partition.txt", rows)


def full_inaturalist2018(root: Path) -> Path:
    """325,846 pictures of 5,690 species and 136,093 of 2,452 others."""
    folder, species = root / "inaturalist2018", [f"train_val2018/Plantae/{number}" for number in range(5_690 + 2_452)]
    shelve(folder, species, stock(root, 58))
    for half, own, images in (("train", species[:5_690], 325_846), ("test", species[5_690:], 136_093)):
        sizes = zip(own, spread(images, len(own)), strict=True)
        paths = (f"{name}/{i}.jpg" for name, size in sizes for i in range(size))
        write(folder / "Inat_dataset_splits" / f"Inaturalist_{half}_set1.txt", paths)
    return folder


def full_humpback_whale(root: Path) -> Path:
    """15,697 pictures of known whales, 2,073 of them the only one, and 9,664 of unknown ones."""
    whales = [f"w_{i:07x}" for i in range(2_073)] + [f"w_{2_073 + i % 2_931:07x}" for i in range(15_697 - 2_073)]
    names = [f"{i:08x}.jpg" for i in range(25_361)]
    plant(root / "humpback-whale-identification/train", names[: len(whales)])
    rows = zip(names, whales + ["new_whale"] * 9_664, strict=True)
    write(root / "humpback-whale-identification/train.csv", ["Image,Id", *(",".join(row) for row in rows)])
    return root / "humpback-whale-identification"


def full_vehicleid(root: Path, train: int = 113_346) -> Path:
    """`train` pictures to train on, of at most 13,164 vehicles; test lists of 6,493, 13,377 and 19,777 pictures."""
    folder = root / "VehicleID_V1.0"
    plant(folder / "image", (f"{i:07d}.jpg" for i in range(train + 19_777)))
    lists = {"train_list": [(i, 1 + i % 13_164) for i in range(train)]}
    for vehicles, images in ((800, 6_493), (1_600, 13_377), (2_400, 19_777)):
        lists[f"test_list_{vehicles}"] = [(train + i, 20_000 + i % vehicles) for i in range(images)]
    return vehicleid(folder, lists)


def full_veri776(root: Path) -> Path:
    """37,778 pictures of 576 vehicles; 1,678 and 11,579 of 200 others; twenty cameras."""
    names = []
    for part, first, ids, total in (("train", 1, 576, 37_778), ("query", 577, 200, 1_678), ("test", 577, 200, 11_579)):
        names += [f"image_{part}/{first + i % ids:04d}_c{1 + i // ids % 20:03d}_{i:08d}_0.jpg" for i in range(total)]
    return plant(root / "VeRi", names)
