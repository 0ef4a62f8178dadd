"""What a fine-tuned model has to beat: the most frequent class, and a linear model over words and pairs of words."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

import torch
from torch import Tensor, nn

from attention_from_scratch.fine_tuning import evaluate
from attention_from_scratch.finetune_data import Splits

PENALTIES: Final = (0.3, 1.0, 3.0, 10.0)
RESAMPLES: Final = 1000


class Lookup(nn.Module):
    """A model that was asked before: its tokens are the numbers of its stored answers."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The stored logits of these numbers."""
        return self.answers[tokens[:, 0]]


def scored(answers: Tensor, labels: list[int], seed: int, resamples: int) -> dict[str, Any]:
    """`fine_tuning.evaluate` of answers that are there already, (examples, classes): accuracy, macro-F1, interval."""
    tokens = torch.arange(len(labels))[:, None]  # (examples, 1)
    batch = tokens, torch.ones_like(tokens, dtype=torch.bool), torch.tensor(labels)
    draws = torch.Generator().manual_seed(seed)
    result = evaluate(Lookup(answers), [batch], answers.shape[1], resamples, draws)
    del result["logits"]
    return result | {"confusion": result["confusion"].tolist()}


def majority(splits: Splits, seed: int) -> dict[str, Any]:
    """The most frequent training label, whatever the text says."""
    label, count = Counter(splits.numbered("train")).most_common(1)[0]
    answers = torch.zeros(len(splits.parts["test"]), len(splits.labels))
    answers[:, label] = 1.0
    detail = f"always {splits.labels[label]}, {count / len(splits.parts['train']):.1%} of the training texts"
    return {
        "name": "majority class",
        "detail": detail,
        "test": scored(answers, splits.numbered("test"), seed, RESAMPLES),
    }


def tfidf(splits: Splits, seed: int) -> dict[str, Any]:
    """Logistic regression over TF-IDF of words and word pairs; its penalty is chosen on the validation texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    started = time.process_time()
    texts = {part: [example.text for example in splits.parts[part]] for part in splits.parts}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train = vectorizer.fit_transform(texts["train"])
    known = {part: vectorizer.transform(texts[part]) for part in ("validation", "test")}
    best: tuple[float, float, Any] | None = None
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=1000).fit(train, splits.numbered("train"))
        said = torch.from_numpy(model.predict_proba(known["validation"]))
        score = scored(said, splits.numbered("validation"), seed, RESAMPLES)["macro_f1"]
        if best is None or score > best[0]:
            best = score, penalty, model
    assert best is not None
    answers = torch.from_numpy(best[2].predict_proba(known["test"]))
    return {
        "name": "TF-IDF + logistic regression",
        "detail": f"{train.shape[1]} words and pairs, C = {best[1]:g} of {len(PENALTIES)}, chosen on validation",
        "cpu_seconds": round(time.process_time() - started, 1),
        "test": scored(answers, splits.numbered("test"), seed, RESAMPLES),
    }
