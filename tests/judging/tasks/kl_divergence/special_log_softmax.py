import torch


class KL(torch.nn.Module):
    def forward(self, student, teacher, temperature=2.0):
        q = torch.special.log_softmax(student / temperature, dim=-1)
        p = torch.special.log_softmax(teacher / temperature, dim=-1)
        return (p.exp() * (p - q)).sum(-1).mean()


candidate = KL
