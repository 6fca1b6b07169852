# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 03 · Language models: tokens, BERT, GPT, T5
#
# **Time.** About 120 minutes of reading and trying. All cells together run in two minutes and a half on two CPU cores.
#
# **You should know** what attention, a mask and a transformer block are (lesson 01). Everything else is explained here.
#
# **Afterwards you can**
#
# - train byte-pair, WordPiece and unigram tokenizers, and say what each one counts;
# - train word vectors in three ways, and read neighbours and analogies off them;
# - measure any language model by its perplexity, from counting to GPT;
# - show why a plain recurrent network forgets, and how the LSTM and the GRU do not;
# - build BERT, GPT-2, T5, BART and a Llama-style decoder, and load published weights into them;
# - say what each of them is trained to predict: MLM, NSP, CLM, span corruption, denoising;
# - decode with a KV cache: greedy, sampling with temperature, top-k and top-p, beam search;
# - turn a language model into one that answers.

# %% [markdown]
# ## 1 What comes next?

# %% [markdown]
# ## 2 From text to tokens

# %% [markdown]
# ## 3 Words as vectors

# %% [markdown]
# ## 4 Counting, and perplexity

# %% [markdown]
# ## 5 Recurrent networks

# %% [markdown]
# ## 6 GPT-2: the decoder

# %% [markdown]
# ## 7 The course's language checkpoint

# %% [markdown]
# ## 8 BERT: the encoder

# %% [markdown]
# ## 9 T5 and BART: encoder and decoder

# %% [markdown]
# ## 10 Llama: the decoder of today

# %% [markdown]
# ## 11 The KV cache

# %% [markdown]
# ## 12 Choosing the next token

# %% [markdown]
# ## 13 Instruction tuning

# %% [markdown]
# ## 14 Break it

# %% [markdown]
# ## 15 At full scale

# %% [markdown]
# ## 16 Looking back
