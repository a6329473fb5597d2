

def forward(logits, target):
    shifted = logits - logits.max(dim=1, keepdim=True)[0]
    log_probs = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    cache = (log_probs.exp(), target)
    return -log_probs.gather(1, target.unsqueeze(1)).mean(), cache


def backward(dout, cache):
    probs, target = cache
    return dout * probs / target.shape[0], None


candidate = (forward, backward)
