"""Training and evaluation of networks; its modules import torch."""
