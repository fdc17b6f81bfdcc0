"""A verdict follows the numbers: turn them round, and it turns."""

import copy
from typing import Any

from doubleback.paper.claims import Claim, claims
from doubleback.paper.tables import tables


def claim(results: dict[str, Any], words: str) -> Claim:
    (found,) = (one for one in claims(results) if words in one.says)
    return found


def test_every_statement_of_the_paper_is_there(results: dict[str, Any]) -> None:
    said = " ".join(one.says for one in claims(results))
    for stated in ("131.874 -> 7.356", "1/17.9", "1/12", "2.771 -> 2.796", "1/100", "95.28", "97.84", "99.37"):
        assert stated in said
    for stated in ("83.80", "91.14", "AUDDC is higher", "lambda1 = lambda2 = 1", "from 1 to 0"):
        assert stated in said


def test_areas_agree_only_if_every_model_gains(results: dict[str, Any]) -> None:
    words = "every model (output)"
    assert claim(results, words).verdict == "agrees"
    other = copy.deepcopy(results)
    other["autoencoders"][0]["hardened"]["difference"]["output"]["settled"] = False
    assert claim(other, words).verdict == "in part"
    assert "not settled: VAE (MNIST)" in claim(other, words).measured
    for row in other["autoencoders"]:
        row["hardened"]["difference"]["output"] |= {"settled": True, "mean": -0.1}
    assert claim(other, words).verdict == "does not"


def test_accuracies_are_held_to_the_papers_within_a_hundredth(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    models = other["classifiers"]["mnist"]["models"]
    models["mnist-lenet"]["accuracy"] = 0.9838
    assert claim(other, "LeNet reaches").verdict == "agrees"
    models["mnist-lenet"]["accuracy"] = 0.9836
    assert claim(other, "LeNet reaches").verdict == "does not"


def test_robust_means_more_than_every_other_at_every_eps(results: dict[str, Any]) -> None:
    words = "white box, MNIST"
    assert claim(results, words).verdict == "agrees"
    other = copy.deepcopy(results)
    models = other["classifiers"]["mnist"]["models"]
    models["mnist-lenet"]["worst_case"] = dict.fromkeys(("0.05", "0.1", "0.2"), 1.0)
    assert claim(other, words).verdict == "in part"
    models["mnist-mlp"]["worst_case"] = models["mnist-lenet"]["worst_case"]
    assert claim(other, words).verdict == "does not"


def test_robust_means_more_of_the_same_images_where_these_are_known(results: dict[str, Any]) -> None:
    """Higher shares are not enough: McNemar's test has to tell the two apart."""
    other = copy.deepcopy(results)
    told = {"mean": 0.1, "ci95": [0.05, 0.15], "settled": True, "pairs": 500}
    found = other["classifiers"]["mnist"]
    own = {name: dict.fromkeys(found["eps"], told) for name in ("mnist-mlp", "mnist-lenet")}
    found["difference"] = {"hardened": own}
    assert claim(other, "white box, MNIST").verdict == "agrees"
    own["mnist-lenet"] |= {found["eps"][0]: told | {"ci95": [-0.01, 0.21], "settled": False}}
    assert claim(other, "white box, MNIST").verdict == "in part"


def test_black_box_and_transitions_go_by_the_same_images(results: dict[str, Any]) -> None:
    """A difference that chance explains is not settled, however large the shares say that it is."""
    told = {"mean": 0.1, "ci95": [0.05, 0.15], "settled": True, "pairs": 1000}
    chance = told | {"ci95": [-0.01, 0.21], "settled": False}
    fewer = told | {"mean": -0.1, "ci95": [-0.15, -0.05]}
    black, sixth = "black box, MNIST", "gets only noise"
    for difference, verdict in ((told, "agrees"), (chance, "not settled"), (fewer, "does not")):
        other = copy.deepcopy(results)
        by_side = {"hardened": difference}
        other["classifiers"]["mnist"]["black_box"] = other["transitions"]["figure6"]["difference"] = by_side
        assert claim(other, black).verdict == claim(other, sixth).verdict == verdict
    other["classifiers"]["mnist"]["black_box"] = {"hardened": told}
    assert claim(other, black).measured.endswith("; on the same images +10.0% [+5.0%, +15.0%]")


def test_gradients(results: dict[str, Any]) -> None:
    assert claim(results, "1/100").verdict == "does not"
    assert "1/3.2" in claim(results, "131.874").measured
    other = copy.deepcopy(results)
    for row in other["autoencoders"]:
        row["hardened"]["input_gradient_norm"] = [0.2] * row["seeds"]
    assert claim(other, "1/100").verdict == "agrees"


def test_the_1_stays_where_the_judge_sees_it(results: dict[str, Any]) -> None:
    words, other = "from 1 to 0", copy.deepcopy(results)
    found = other["one_to_zero"]
    told = {"mean": 0.1, "ci95": [0.05, 0.15], "settled": True, "pairs": 8}
    gone, kept = [0.0, 0.32], [0.53, 0.98]
    for before, after, verdict in ((gone, kept, "agrees"), (gone, gone, "in part"), (kept, kept, "in part")):
        for side, ends in (("plain", before), ("hardened", after)):
            judged = {"judge": {"1": sum(ends) / 2}, "ci95": {"judge": {"1": ends}}}
            found[side] |= {**judged, "difference": told if side == "hardened" else None}
        assert claim(other, words).verdict == verdict
    assert "sees a 1 in 75.5% [53%, 98%] of the plain model's outputs" in claim(other, words).measured


def test_the_best_mixture_is_of_an_encoder_that_has_learned_the_labels(results: dict[str, Any]) -> None:
    other, words = copy.deepcopy(results), "encoder (DBP) + GMM reaches 83.80"
    models = other["classifiers"]["svhn"]["models"]
    models["svhn-conv-vae-best-0"]["accuracy"], models["svhn-conv-vae-labelled-0"]["accuracy"] = 0.7, 0.85
    best = claim(other, words).best
    assert best is not None
    assert (best.verdict, best.measured) == ("agrees", "85.00 % (the encoder has learned the labels)")
    del models["svhn-conv-vae-labelled-0"]
    best = claim(other, words).best
    assert best is not None
    assert (best.verdict, best.measured) == ("does not", "70.00 %")


def test_transitions(results: dict[str, Any]) -> None:
    words = "gets only noise"
    assert claim(results, words).verdict == "agrees"
    other = copy.deepcopy(results)
    for one in other["transitions"]["figure6"]["models"].values():
        one["judge"]["image"] = 0.2
    assert claim(other, words).verdict == "does not"


def test_without_results_nothing_is_claimed(results: dict[str, Any]) -> None:
    empty = {"autoencoders": [], "classifiers": {}, "transitions": {}, "one_to_zero": None}
    assert claims(results | empty) == []


def test_every_verdict_can_turn(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    other["one_to_zero"]["hardened"]["difference"] |= {"settled": True, "mean": -0.1}
    assert claim(other, "from 1 to 0").verdict == "does not"
    sixth = other["transitions"]["figure6"]["models"]
    for one in sixth.values():
        one["judge"]["image"] = 0.9 if one["penalty"] == "output-10" else 0.0
    assert claim(other, "gets only noise").verdict == "does not", "it is said of lambda1 = lambda2 = 1"
    for one in other["transitions"]["figure3"]["models"].values():
        one["judge"]["image"] = 0.0
    assert claim(other, "9 into a 7").verdict == "does not"
    for row in other["autoencoders"]:
        row["hardened"]["reconstruction_l2"] = [50.0] * row["seeds"]
        row["hardened"]["input_gradient_norm"] = [1.0] * row["seeds"]
    assert claim(other, "slightly discards").verdict == "does not"
    assert claim(other, "131.874").verdict == "in part"
    other["autoencoders"][0]["hardened"]["reconstruction_l2"] = other["autoencoders"][0]["plain"]["reconstruction_l2"]
    assert claim(other, "131.874").verdict == "agrees"
    for model in other["classifiers"]["mnist"]["models"].values():
        if model["penalty"] == "hardened":
            model["transfer"] = {source: dict.fromkeys(shares, 0.0) for source, shares in model["transfer"].items()}
    assert claim(other, "black box, MNIST").verdict == "does not"


def test_labels_decide_nothing(results: dict[str, Any]) -> None:
    """They are printed; ids say what a row is."""
    other = copy.deepcopy(results)
    for row in other["autoencoders"]:
        row["label"] = "lambda penalty, DRAW"
    models = [one for found in other["classifiers"].values() for one in found["models"].values()]
    for model in models:
        model["label"] = "GMM"
    for name, found in other["transitions"].items():
        renamed = {f"{name} {i}": one for i, one in enumerate(found["models"].values())}
        other["transitions"][name] = found | {"models": renamed}
    assert [one.verdict for one in claims(other)] == [one.verdict for one in claims(results)]
    assert [one.where for one in claims(other)] == [one.where for one in claims(results)]
    assert [table.records[0].keys() for table in tables(other)] == [
        table.records[0].keys() for table in tables(results)
    ]
    sources = {record["made_on"] for record in tables(other)[3].records}
    assert sources == {"GMM"}, "the classifiers that are no mixtures, whatever they are called"


def test_draw_alone_is_excused_for_the_latent_attack(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    rows = {row["model"]: row for row in other["autoencoders"] if row["data"] == "mnist"}
    rows["draw"]["hardened"]["difference"]["latent"]["settled"] = False
    assert "hardly better than blending" in claim(other, "every model (latent)").why
    rows["vae"]["hardened"]["difference"]["latent"]["settled"] = False
    other["autoencoders"][0]["hardened"]["difference"]["latent"]["settled"] = False
    assert claim(other, "every model (latent)").why == ""
