"""KL divergence from the softmax of a student's logits to that of a teacher's, over a temperature, a mean over rows."""

from gradcheck_lab.specs import real

specs = (real("n c"), real("n c"))
options = {"temperature": 2.0}
forbidden = (
    "aten.kl_div", "aten._log_softmax", "aten._softmax", "aten._log_softmax_backward_data", "aten._softmax_backward_data",
)


def _log_softmax(x):
    x = x - x.amax(-1, keepdim=True)
    return x - x.exp().sum(-1, keepdim=True).log()


def reference(student, teacher, temperature=2.0):
    p, q = _log_softmax(teacher / temperature), _log_softmax(student / temperature)
    return (p.exp() * (p - q)).sum(-1).mean()
