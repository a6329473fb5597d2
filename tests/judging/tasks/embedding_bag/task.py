"""Sums of embeddings: for each row of indices, the sum of the rows of the table."""

from gradcheck_lab.specs import labels, real

specs = (real("v d"), labels("n l", classes="v"))
forbidden = (
    "aten.embedding_bag", "aten._embedding_bag", "aten._embedding_bag_backward", "aten._embedding_bag_dense_backward",
    "aten.embedding", "aten.embedding_backward", "aten.embedding_dense_backward", "aten._embedding_bag_forward_only",
)


def reference(table, indices):
    return table[indices].sum(1)
