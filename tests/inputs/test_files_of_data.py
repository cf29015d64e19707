"""Tables, folders of pictures and data sets on disk, as the command line takes them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.errors import BadInput
from landscape.inputs.data import load_data
from landscape.runs.recipe import with_target

TABLE = "acid,sugar,sort,price\n1,0.5,red,3\n2,1.5,white,4\n3,-1e3,red,5\n4,2.5,rosé,6\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def load(path: Path | str, **arguments):
    return load_data(str(path), arguments, None, torch.float64)


def test_columns_of_numbers_are_inputs_and_text_is_classes(table: Path):
    data = load(table, target="sort", drop="price")
    assert data.inputs.tolist() == [[1, 0.5], [2, 1.5], [3, -1000], [4, 2.5]]
    assert data.targets.tolist() == [0, 2, 0, 1]
    assert data.notes == ("inputs are the columns acid, sugar", "classes of sort: red 0, rosé 1, white 2")


def test_whole_numbers_are_classes_unless_told_otherwise(table: Path):
    classes = load(table, target="price", drop="sort")
    assert (classes.task, classes.targets.tolist()) == ("classification", [3, 4, 5, 6])
    assert (
        classes.notes[-1]
        == "the whole numbers of price are taken as classes (task=regression for quantities)"
    )
    numbers = load(table, target="price", drop="sort", task="regression")
    assert (numbers.task, numbers.targets.tolist()) == ("regression", [[3], [4], [5], [6]])
    several = load(table, **with_target({"columns": "acid"}, "price, sugar"))
    assert several.targets.tolist() == [[3, 0.5], [4, 1.5], [5, -1000], [6, 2.5]]
    assert not load(table, **with_target({"columns": ("acid", "sugar")}, "none")).has_targets
    listed = load(table, target="price", columns="sugar, acid", drop="sort,price")
    assert listed.inputs.tolist()[0] == [0.5, 1]


@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_the_delimiter_is_told_from_the_first_line(tmp_path: Path, mark: str):
    path = tmp_path / "a.csv"
    path.write_text(f"a{mark}b\n1{mark}True\n2{mark}false\n")
    assert load(path, target="b").targets.tolist() == [1, 0]


def test_a_part_is_held_out_and_inputs_are_standardised(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i * i},{i % 2}\n" for i in range(20)))
    data = load(path, target="y", test_size=0.25, standardise=True)
    assert (len(data), len(data.test_targets)) == (15, 5)
    assert data.inputs.mean().abs() < 1e-12
    assert data.inputs.std(correction=0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (TABLE, {"target": "price"}, "column 'sort' of a.csv holds text, 'red'; .*`data_arg` drop=sort"),
        (TABLE, {}, "has the columns acid, sugar, sort, price; .*`target` = price"),
        (TABLE, {"target": "prize"}, "a.csv has no column 'prize'; expected one of acid"),
        (
            "a,b\n1,2\n,3\nNA,1\n",
            {"target": "b"},
            "lacks 2 values, the first in row 2, column 'a'; .*missing=drop",
        ),
        ("a,b\n1,2\n3\n", {"target": "b"}, "line 3 of a.csv has 1 values; expected 2, one a column"),
        (
            "1,2\n3,4\n",
            {"target": "b"},
            "first line of a.csv has numbers where names belong: 1, 2; .*header=false",
        ),
        (
            "5.1,2,red\n4,2,blue\n",
            {"target": "red"},
            "numbers where names belong: 5.1, 2, red; .*header=false",
        ),
        (
            "a,b\n1,red\n2,blue\n",
            {"target": "b", "task": "regression"},
            "the target 'b' of a.csv holds text, 'red'",
        ),
        ("a,b,c\n1,red,1\n2,blue,2\n", {"target": "b,c"}, "holds text, 'red'; .*name b alone"),
        ("a;b\n1;0,5\n2;1,5\n", {"target": "b"}, "holds text, '0,5'; expected numbers with a decimal point"),
        ("a,b\n1,2\n2,3\n", {"target": "b", "columns": "a,b"}, "the target 'b' of a.csv is among the inputs"),
        ("a,b\n1,\n2,3\n", {"target": "b"}, "row 1, column 'b'; .*missing=drop\\.?$"),
        ("a,a\n3,4\n", {"target": "a"}, "the column 'a' twice"),
        ("a,b\n", {"target": "a"}, "a.csv has no samples"),
        ("", {"target": "a"}, "a.csv is empty"),
        ("a\n1\n2\n", {"target": "a"}, "no column besides the target"),
    ],
)
def test_a_table_that_cannot_be_used_gets_a_sentence(
    tmp_path: Path, text: str, arguments: dict, sentence: str
):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence):
        load(path, **arguments)


def test_what_the_refusals_propose_works(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("1,2\n,0\n3,1\n")
    data = load(path, target=1, header=False, missing="drop")
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[1], [3]], [2, 1])
    assert "1 of 3 rows are left out, as values are missing there" in data.notes


def test_a_sample_on_the_first_line_is_kept_and_names_that_are_numbers_are_names_when_said(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("5.1,red\n4.9,blue\n")
    assert load(path, target=1, header=False).inputs.flatten().tolist() == [5.1, 4.9]
    path.write_text("400.5,kind\n4.9,0\n4.7,1\n")
    assert load(path, target="kind", header=True).inputs.flatten().tolist() == [4.9, 4.7]
    path.write_text("2019,kind\n4.9,0\n4.7,1\n")
    assert load(path, target="kind").inputs.flatten().tolist() == [4.9, 4.7]


def test_parquet_is_read_where_pandas_reads_it(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    pandas.DataFrame({"a": [1.0, 2.0], "b": [0, 1]}).to_parquet(path)
    data = load(path, target="b")
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[1], [2]], [0, 1])


def test_whole_numbers_of_parquet_stay_classes_where_some_are_missing(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    columns = {"a": [1.0, 2.0, 3.0, 4.0], "b": pandas.array([2, None, 0, 1], dtype="Int64")}
    pandas.DataFrame(columns).to_parquet(path)
    found = load_data(str(path), {"target": "b", "missing": "drop"}, None)
    assert found.inputs.tolist() == [[1.0], [3.0], [4.0]]
    assert found.targets.tolist() == [2, 0, 1]
    assert found.targets.dtype == torch.int64
    with pytest.raises(BadInput, match="lacks 1 values, the first in row 2, column 'b'"):
        load_data(str(path), {"target": "b"}, None)


def test_an_npz_file_needs_no_prefix(tmp_path: Path):
    np.savez(tmp_path / "a.npz", inputs=np.ones((3, 2)), targets=np.array([0, 1, 1]))
    assert load(tmp_path / "a.npz").targets.tolist() == [0, 1, 1]


# Pictures


def write(path: Path, pixels: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels.astype(np.uint8)).save(path)


def test_a_folder_a_class_in_the_order_of_the_alphabet(tmp_path: Path):
    colours = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    write(tmp_path / "pets/dog/a.png", colours[0])
    write(tmp_path / "pets/cat/b.png", colours[1])
    (tmp_path / "pets/cat/notes.txt").write_text("no picture")
    data = load(tmp_path / "pets")
    assert data.targets.tolist() == [0, 1]
    assert torch.equal(
        data.inputs, torch.from_numpy(colours[::-1].transpose(0, 3, 1, 2) / 255.0).float().double()
    )
    assert data.notes == ("classes: cat 0, dog 1", "2 pictures in colours, pixels in [0, 1]")


def test_greys_have_one_channel_and_a_test_folder_is_one(tmp_path: Path):
    for part in ("train", "test"):
        for number, name in enumerate(("a", "b")):
            write(tmp_path / part / name / "0.png", np.full((2, 2), 51 * (number + 1)))
    data = load(tmp_path)
    assert data.inputs.shape == data.test_inputs.shape == (2, 1, 2, 2)
    assert data.inputs[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4])
    assert load(tmp_path, channels=3).inputs.shape == (2, 3, 2, 2)


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Train", "Test"), ("training", "testing"), ("train", "val")]
)
def test_folders_of_parts_are_no_classes(tmp_path: Path, names: tuple[str, str]):
    for part in names:
        for number, name in enumerate(("a", "b")):
            write(tmp_path / part / name / "0.png", np.full((2, 2), number))
    data = load(tmp_path)
    assert (data.inputs[:, 0, 0, 0] * 255).round().tolist() == data.targets.tolist() == [0, 1]
    assert data.test_targets.tolist() == [0, 1]
    assert data.notes[-1] == f"folder {names[0]} trains, {names[1]} tests"
    shutil.rmtree(tmp_path / names[1])
    assert load(tmp_path).notes[-1] == f"folder {names[0]} trains"
    write(tmp_path / "test/a/0.png", np.ones((2, 2)))
    write(tmp_path / "test/b/0.png", np.ones((2, 2)))
    write(tmp_path / "valid/a/0.png", np.ones((2, 2)))
    assert load(tmp_path).notes[-1] == f"folder {names[0]} trains, test tests; valid is not read"


def test_what_of_a_picture_is_left_out_is_said(tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    for name in ("a", "b"):
        write(tmp_path / name / "0.png", np.ones((2, 2, 4)))
    assert load(tmp_path).notes[1] == "2 pictures in colours, pixels in [0, 1]; transparency is left out"
    frames = [image.fromarray(np.full((2, 2), one, np.uint8)) for one in (0, 255)]
    frames[0].save(tmp_path / "a/1.gif", save_all=True, append_images=frames[1:])
    assert load(tmp_path).notes[1].endswith("of moving pictures the first is taken")


def test_sizes_have_to_agree_or_be_made_to(tmp_path: Path):
    write(tmp_path / "a/0.png", np.ones((4, 4)))
    write(tmp_path / "b/0.png", np.ones((4, 5)))
    with pytest.raises(BadInput, match=r"b/0.png has 4×5 pixels, .*a/0.png 4×4; .*`data_arg` size=4"):
        load(tmp_path)
    data = load(tmp_path, size=4)
    assert data.inputs.shape == (2, 1, 4, 4)
    assert data.notes[1].endswith("resized to 4×4")


def test_folders_that_cannot_be_used_get_a_sentence(tmp_path: Path):
    with pytest.raises(BadInput, match="holds no data that are known"):
        load(tmp_path)
    write(tmp_path / "a/0.png", np.ones((4, 4)))
    with pytest.raises(BadInput, match="has 1 folders; expected one for each of at least two classes"):
        load(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(BadInput, match="b has no picture"):
        load(tmp_path)
    (tmp_path / "b/0.png").write_bytes(b"none")
    with pytest.raises(BadInput, match=r"0\.png is no picture"):
        load(tmp_path)


# Hugging Face's datasets on disk


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def test_a_data_set_on_disk(tmp_path: Path, datasets):
    rows = {
        "input_ids": [[1, 2], [3, 4], [5, 6]],
        "attention_mask": [[1, 1], [1, 0], [1, 1]],
        "label": [0, 1, 0],
    }
    features = datasets.Features(
        {
            "input_ids": datasets.Sequence(datasets.Value("int32")),
            "attention_mask": datasets.Sequence(datasets.Value("int8")),
            "label": datasets.ClassLabel(names=["bad", "good"]),
        }
    )
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.save_to_disk(tmp_path / "one")
    data = load(tmp_path / "one")
    assert {name: part.tolist() for name, part in data.inputs.items()} == {
        name: rows[name] for name in ("input_ids", "attention_mask")
    }
    assert data.targets.tolist() == rows["label"]
    assert data.notes == (
        "columns input_ids, attention_mask are the inputs, label the target",
        "classes of label: bad 0, good 1",
    )
    datasets.DatasetDict({"train": whole, "validation": whole.select([0, 1])}).save_to_disk(tmp_path / "two")
    data = load(tmp_path / "two", inputs="input_ids")
    assert data.inputs.tolist() == rows["input_ids"]
    assert list(load(tmp_path / "two", inputs="input_ids,attention_mask").inputs) == list(rows)[:2]
    assert data.test_targets.tolist() == [0, 1]
    assert data.notes[0] == "split train trains, validation tests"
    with pytest.raises(
        BadInput, match=r"no split 'dev'; expected one of train, validation; `data_arg` split=train"
    ):
        load(tmp_path / "two", split="dev")


def test_classes_on_disk_may_be_text_and_have_no_sample(tmp_path: Path, datasets):
    rows = {"x": [[1.0], [2.0], [3.0]], "label": ["dog", "ape", "dog"]}
    whole = datasets.Dataset.from_dict(rows)
    two = {"train": whole, "test": whole.select([0, 2]), "validation": whole}
    datasets.DatasetDict(two).save_to_disk(tmp_path / "a")
    data = load(tmp_path / "a")
    assert data.targets.tolist() == [1, 0, 1]
    assert data.test_targets.tolist() == [1, 1]
    assert data.notes == (
        "split train trains, test tests; validation is not read",
        "columns x are the inputs, label the target",
        "classes of label: ape 0, dog 1",
    )
    names = datasets.ClassLabel(names=["ape", "cat", "dog", "elk"])
    whole.cast_column("label", names).save_to_disk(tmp_path / "b")
    data = load(tmp_path / "b")
    assert (data.num_classes, data.targets.tolist()) == (4, [2, 0, 2])
    datasets.Dataset.from_dict({"x": [[1.0]] * 2, "label": ["dog", None]}).save_to_disk(tmp_path / "c")
    with pytest.raises(BadInput, match="nothing in the column 'label'"):
        load(tmp_path / "c")


def test_text_and_gaps_on_disk_are_refused_by_name(tmp_path: Path, datasets):
    datasets.Dataset.from_dict({"text": ["a", "b"], "x": [1.0, None], "label": [0, 1]}).save_to_disk(
        tmp_path / "a"
    )
    with pytest.raises(BadInput, match=r"the column 'text' of .* is text, 'a'; .*`data_arg` inputs=x"):
        load(tmp_path / "a")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}).save_to_disk(tmp_path / "c")
    with pytest.raises(BadInput, match=r"make tokens of it before save_to_disk\.$"):
        load(tmp_path / "c")
    with pytest.raises(BadInput, match=r"row 1 of .* has nothing in the column 'x'"):
        load(tmp_path / "a", inputs="x")
    datasets.Dataset.from_dict({"x": [[1], [1, 2]], "label": [0, 1]}).save_to_disk(tmp_path / "b")
    with pytest.raises(BadInput, match=r"samples have shapes \(1,\) and \(2,\)"):
        load(tmp_path / "b")


def test_a_test_set_without_labels_is_left_out(tmp_path: Path, datasets):
    features = datasets.Features(
        {"x": datasets.Value("float32"), "label": datasets.ClassLabel(names=["u", "v"])}
    )

    def split(*labels):
        return datasets.Dataset.from_dict({"x": [1.0, 2.0], "label": list(labels)}, features=features)

    whole = {"train": split(0, 1), "validation": split(1, 0), "test": split(-1, -1)}
    datasets.DatasetDict(whole).save_to_disk(tmp_path / "d")
    found = load_data(str(tmp_path / "d"), {}, None)
    assert found.test_targets is not None
    assert found.test_targets.tolist() == [1, 0]
    assert any("split test is left out, as all of its labels are -1" in note for note in found.notes)


def test_pictures_of_more_bits_on_disk_are_refused(tmp_path: Path, datasets):
    image = pytest.importorskip("PIL.Image")
    wide = image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000)
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    rows = datasets.Dataset.from_dict({"img": [wide, wide], "label": [0, 1]}, features=features)
    rows.save_to_disk(tmp_path / "d")
    with pytest.raises(BadInput, match=r"column 'img' of .* has more than 8 bits a pixel"):
        load_data(str(tmp_path / "d"), {}, None)


def test_a_data_set_on_disk_without_its_reader(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "dataset_info.json").write_text(json.dumps({}))
    with pytest.raises(
        BadInput, match="datasets, which is not here; expected that package; pip install datasets"
    ):
        load(tmp_path)
