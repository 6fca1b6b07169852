# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 01 · From the perceptron to attention
#
# **Time.** About 110 minutes of reading and trying. All cells together run in two minutes and a half on two CPU cores.
#
# **You should know** Python, what a derivative is, and how to multiply two matrices. Everything else is explained here.
#
# **Afterwards you can**
#
# - write a network with its backward pass by hand, and know what `loss.backward()` does;
# - write SGD, momentum, Adam and AdamW from memory, and say what each of them changed;
# - tell BatchNorm, LayerNorm and RMSNorm apart, by what they average over;
# - build attention with loops, as a matrix product and with several heads, masked and scaled, equal to PyTorch's;
# - give a model the order of its tokens in three ways: sinusoidal, learned and rotary;
# - build the Transformer of Vaswani et al., train it, and generate with it;
# - show by experiment what attention can do that an RNN and an MLP cannot, and what breaks without each of its parts.

# %% [markdown]
# ## 1 Which word looks where?

# %% [markdown]
# ## 2 From the perceptron to the MLP

# %% [markdown]
# ## 3 Losses

# %% [markdown]
# ## 4 Backpropagation

# %% [markdown]
# ## 5 Optimisers

# %% [markdown]
# ## 6 Dropout and weight decay

# %% [markdown]
# ## 7 Normalisation

# %% [markdown]
# ## 8 Attention, built three times

# %% [markdown]
# ## 9 Masks

# %% [markdown]
# ## 10 Positions

# %% [markdown]
# ## 11 The transformer block

# %% [markdown]
# ## 12 Encoder, decoder, encoder-decoder

# %% [markdown]
# ## 13 The training recipe

# %% [markdown]
# ## 14 What attention can do that others cannot

# %% [markdown]
# ## 15 Break it

# %% [markdown]
# ## 16 At full scale

# %% [markdown]
# ## 17 Looking back
