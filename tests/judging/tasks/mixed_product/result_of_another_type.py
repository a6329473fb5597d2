def forward(a, b, residual):
    return [[str(value) for value in row] for row in (a @ b + residual).tolist()]


def backward(grad_output, output, a, b, residual):
    return (grad_output @ b.T).tolist(), (a.T @ grad_output).tolist(), grad_output.tolist()


candidate = (forward, backward)
