"""The second kind of campaign: does long-range physics make force fields transfer?"""
