"""The neuron's loops over time as one pass through memory each: in C++ on the CPU, in Triton on CUDA.

Nothing here knows autograd or the paper's networks: tensors go in, tensors come out, and the names are those of the
equations. The files, from the bottom up:

    constants.py   the neuron's constants as every kernel takes them, and the surrogates that the kernels know
    memory.py      large arrays on the CPU, from memory that is kept between calls
    cpu.cpp        the loops in C++
    library.py     compiles cpu.cpp for the machine at hand, and keeps the result between processes
    cpu.py         calls what library.py has compiled
    cuda.py        the loops in Triton; imported when a CUDA tensor first asks for them
    dispatch.py    the functions that the rest of the package calls, on either device
"""
