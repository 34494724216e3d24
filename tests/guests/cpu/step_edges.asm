; Where debug traps meet what holds them back: MOV SS (SDM 3A, 6.8.3), and HLT, which they end (SDM 2A, HLT).
%include "cpu.inc"
        START
        SET hook, nothing
        mov dword [scratch], DATA
        mov eax, scratch
        mov dr0, eax
        mov eax, 2 | 3 << 16 | 3 << 18
        mov dr7, eax
        ; A breakpoint on what MOV SS reads comes behind the next instruction,
        SET got_count, 0
        mov ss, [scratch]
        nop
.after: NOTED got_count, 1
        NOTED got_ip, .after
        ; or with its INT1,
        SET got_count, 0
        mov ss, [scratch]
        int1
.both:  NOTED got_count, 1
        NOTED got_ip, .both
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 1
        ; or in the handler of its INT.
        SET got_count, 0
        mov ss, [scratch]
        int DEBUG
.twice: NOTED got_count, 2
        mov eax, 0x400
        mov dr7, eax
        ; Nothing else would end this halt.
        cli
        SET got_count, 0
        pushfd
        or dword [esp], F_TF
        popfd
        hlt
.woken: pushfd
        and dword [esp], ~F_TF
        popfd
        NOTED got_count, 4
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 0x4000
        PASS
nothing: ret
