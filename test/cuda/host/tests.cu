// The functions of the CUDA backend that the host has, too: index maps and activations. One translation unit, because
// to read the toolkit's headers takes longer than all the rest.
#include "activation.inl"
#include "attention.inl"
#include "choice.inl"
#include "product.inl"
#include "stage.inl"
#include "strides.inl"
#include "terms.inl"
