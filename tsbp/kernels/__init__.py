"""The neuron's loops over time as one pass through memory each: in C++ on the CPU, in Triton on CUDA.

The files, from the bottom up. Up to dispatch.py they know nothing of autograd: tensors go in, tensors come out.

    constants.py   the neuron's constants as every kernel takes them, and the surrogates that the kernels know
    memory.py      large arrays on the CPU, from memory that is kept between calls
    rows.py        tensors in the form that the kernels read and write
    cpu.cpp        the loops in C++
    recurrent.h    those of a recurrent layer; part of cpu.cpp
    library.py     compiles cpu.cpp for the machine at hand, and keeps the result between processes
    cpu.py         calls what library.py has compiled
    cuda.py        the loops in Triton; imported when a CUDA tensor first asks for them
    dispatch.py    the loops on either device
    tensors.py     which tensors have memory that a kernel can be given
    ops.py         the loops as operators of PyTorch, for its transforms and compilers
    fused.py       a layer of neurons with its derivatives
    events.py      products of weights with spikes, of which there are few
    recurrent_cpu.py  calls the loops of a recurrent layer in C++
    recurrent.py   a layer of neurons with recurrent weights
"""
