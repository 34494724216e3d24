//! Between the engine's register file and [`CpuState`].

use super::engine::{Engine, Env, off};
use super::state::{CpuState, EngineState, Fpu, Msrs, Segment, TableRegister, seg};

/// Bits of RFLAGS.
pub mod flag {
    pub const AF: u64 = 1 << 4;
    pub const SF: u64 = 1 << 7;
    pub const OF: u64 = 1 << 11;
    pub const ARITHMETIC: u64 = 0x8d5;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// What a task switch loads beside the arithmetic flags and DF.
    pub const TASK: u64 = TF | IF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
}

/// Bits of the engine's hflags: mode bits that it derives from architectural state, and some that are state.
mod hflag {
    pub const CPL: u32 = 3;
    pub const INHIBIT_IRQ: u32 = 1 << 3;
    pub const CS32: u32 = 1 << 4;
    pub const SS32: u32 = 1 << 5;
    pub const ADDSEG: u32 = 1 << 6;
    pub const PE: u32 = 1 << 7;
    pub const TF: u32 = 1 << 8;
    pub const MP_EM_TS: u32 = 7 << 9;
    pub const IOPL: u32 = 3 << 12;
    pub const LMA: u32 = 1 << 14;
    pub const CS64: u32 = 1 << 15;
    pub const VM: u32 = 1 << 17;
    pub const OSFXSR: u32 = 1 << 22;
    pub const SMAP: u32 = 1 << 23;
    pub const DERIVED: u32 =
        CPL | CS32 | SS32 | ADDSEG | PE | TF | MP_EM_TS | IOPL | LMA | CS64 | VM | OSFXSR | SMAP;
}

/// hflags2: global interrupt flag, always set without SVM.
const HF2_GIF: u32 = 1;
/// hflags2: an NMI is being handled.
const HF2_NMI: u32 = 1 << 2;

/// cc_op value for "the arithmetic flags are in cc_src".
pub(super) const CC_OP_EFLAGS: u32 = 1;

impl Env {
    /// A segment register with its hidden part; `index` as in [`seg`].
    pub fn segment(&self, index: usize) -> Segment {
        self.segment_at(off::SEGS + 24 * index)
    }

    /// LDTR or TR by its offset.
    pub fn segment_at(&self, at: usize) -> Segment {
        Segment {
            selector: self.r32(at) as u16,
            base: self.r64(at + 8),
            limit: self.r32(at + 16),
            flags: self.r32(at + 20) & 0x00ff_ff00,
        }
    }

    /// Writes a segment register; [`Env::update_hflags`] must follow.
    pub fn set_segment(&self, index: usize, s: &Segment) {
        self.set_segment_at(off::SEGS + 24 * index, s);
    }

    /// Writes LDTR or TR by its offset.
    pub fn set_segment_at(&self, at: usize, s: &Segment) {
        self.w32(at, s.selector.into());
        self.w64(at + 8, s.base);
        self.w32(at + 16, s.limit);
        self.w32(at + 20, s.flags);
    }

    fn table(&self, at: usize) -> TableRegister {
        TableRegister { base: self.r64(at + 8), limit: self.r32(at + 16) as u16 }
    }

    /// GDTR.
    pub fn gdtr(&self) -> TableRegister {
        self.table(off::GDT)
    }

    /// IDTR.
    pub fn idtr(&self) -> TableRegister {
        self.table(off::IDT)
    }

    /// General register by its number in instruction encoding.
    #[inline]
    pub fn gpr(&self, n: usize) -> u64 {
        self.r64(off::REGS + 8 * n)
    }

    /// Writes a general register.
    pub fn set_gpr(&self, n: usize, value: u64) {
        self.w64(off::REGS + 8 * n, value);
    }

    /// Offset of the next instruction in CS.
    #[inline]
    pub fn rip(&self) -> u64 {
        self.r64(off::EIP)
    }

    /// Writes RIP.
    pub fn set_rip(&self, rip: u64) {
        self.w64(off::EIP, rip);
    }

    /// Linear address of the next instruction.
    #[inline]
    pub fn linear_pc(&self) -> u64 {
        let pc = self.r64(off::SEGS + 24 * seg::CS + 8).wrapping_add(self.rip());
        if self.r32(off::HFLAGS) & hflag::CS64 != 0 { pc } else { pc & 0xffff_ffff }
    }

    /// 16, 32 or 64: how code at CS:RIP is decoded.
    #[inline]
    pub fn code_bits(&self) -> u32 {
        let h = self.r32(off::HFLAGS);
        if h & hflag::CS64 != 0 {
            64
        } else if h & hflag::CS32 != 0 {
            32
        } else {
            16
        }
    }

    /// Current privilege level.
    #[inline]
    pub fn cpl(&self) -> u8 {
        (self.r32(off::HFLAGS) & hflag::CPL) as u8
    }

    /// CR0.PE.
    pub fn protected(&self) -> bool {
        self.r64(off::CR) & 1 != 0
    }

    /// EFER.LMA.
    pub fn long_mode(&self) -> bool {
        self.r64(off::EFER) & 1 << 10 != 0
    }

    /// Whether a maskable interrupt may be taken: IF set and no interrupt shadow.
    #[inline]
    pub fn interruptible(&self) -> bool {
        self.r64(off::EFLAGS) & flag::IF != 0 && self.r32(off::HFLAGS) & hflag::INHIBIT_IRQ == 0
    }

    /// EFLAGS.IF.
    pub fn interrupts_enabled(&self) -> bool {
        self.r64(off::EFLAGS) & flag::IF != 0
    }

    /// Whether a non-maskable interrupt may be taken: none is being handled, and no interrupt shadow.
    pub fn takes_nmi(&self) -> bool {
        self.r32(off::HFLAGS2) & HF2_NMI == 0 && self.r32(off::HFLAGS) & hflag::INHIBIT_IRQ == 0
    }

    /// Blocks non-maskable interrupts until IRET, or ends that.
    pub fn set_nmi_blocked(&self, blocked: bool) {
        let others = self.r32(off::HFLAGS2) & !HF2_NMI;
        self.w32(off::HFLAGS2, others | if blocked { HF2_NMI } else { 0 });
    }

    /// Whether an interrupt shadow holds interrupts back.
    pub fn shadowed(&self) -> bool {
        self.r32(off::HFLAGS) & hflag::INHIBIT_IRQ != 0
    }

    /// Ends the interrupt shadow (an interrupt or exception was delivered).
    pub fn clear_shadow(&self) {
        self.w32(off::HFLAGS, self.r32(off::HFLAGS) & !hflag::INHIBIT_IRQ);
    }

    /// Writes all of RFLAGS; [`Env::update_hflags`] must follow.
    pub fn set_rflags(&self, rflags: u64) {
        self.w32(off::CC_OP, CC_OP_EFLAGS);
        self.w64(off::CC_SRC, rflags & flag::ARITHMETIC);
        self.w64(off::CC_DST, 0);
        self.w64(off::CC_SRC2, 0);
        self.w32(off::DF, if rflags & flag::DF != 0 { u32::MAX } else { 1 });
        self.w64(off::EFLAGS, (rflags & !(flag::ARITHMETIC | flag::DF)) | 2);
    }

    /// Recomputes the mode bits that the engine derives from registers.
    pub fn update_hflags(&self) {
        self.w32(off::HFLAGS, self.derived_hflags());
    }

    fn derived_hflags(&self) -> u32 {
        let cr0 = self.r64(off::CR) as u32;
        let cr4 = self.r64(off::CR + 32);
        let eflags = self.r64(off::EFLAGS) as u32;
        let flags = |i: usize| self.r32(off::SEGS + 24 * i + 20);
        let mut h = self.r32(off::HFLAGS) & !hflag::DERIVED;
        let v86 = eflags & hflag::VM != 0;
        if cr0 & 1 != 0 {
            h |= hflag::PE;
            h |= if v86 { 3 } else { flags(seg::SS) >> 13 & hflag::CPL };
        }
        h |= cr0 << 8 & hflag::MP_EM_TS;
        // TF and IOPL the engine takes from EFLAGS whenever it looks: here they would stay when POPF changes them.
        h |= eflags & hflag::VM;
        if cr4 & 1 << 9 != 0 {
            h |= hflag::OSFXSR;
        }
        if cr4 & 1 << 21 != 0 {
            h |= hflag::SMAP;
        }
        if self.long_mode() {
            h |= hflag::LMA;
        }
        if h & hflag::LMA != 0 && flags(seg::CS) & 1 << 21 != 0 {
            h |= hflag::CS64 | hflag::CS32 | hflag::SS32;
        } else {
            h |= (flags(seg::CS) >> 22 & 1) << 4 | (flags(seg::SS) >> 22 & 1) << 5;
            let base = |i: usize| self.r64(off::SEGS + 24 * i + 8);
            let flat = base(seg::DS) | base(seg::ES) | base(seg::SS) == 0;
            if h & hflag::PE == 0 || v86 || h & hflag::CS32 == 0 || !flat {
                h |= hflag::ADDSEG;
            }
        }
        h
    }

    fn fpu(&self) -> Fpu {
        let mut fpu = Fpu {
            control: self.r16(off::FPUC),
            status: (self.r16(off::FPUS) & !0x3800) | ((self.r32(off::FPSTT) & 7) << 11) as u16,
            opcode: self.r16(off::FPOP),
            cs: self.r16(off::FPCS),
            ds: self.r16(off::FPDS),
            ip: self.r64(off::FPIP),
            dp: self.r64(off::FPDP),
            ..Fpu::default()
        };
        for i in 0..8 {
            fpu.regs[i] = (self.r64(off::FPREGS + 16 * i), self.r16(off::FPREGS + 16 * i + 8));
            if self.r8(off::FPTAGS + i) == 0 {
                fpu.tag |= 1 << i;
            }
        }
        fpu
    }

    fn set_fpu(&self, fpu: &Fpu) {
        self.w16(off::FPUC, fpu.control);
        self.w16(off::FPUS, fpu.status & !0x3800);
        self.w32(off::FPSTT, (fpu.status >> 11 & 7).into());
        self.w16(off::FPOP, fpu.opcode);
        self.w16(off::FPCS, fpu.cs);
        self.w16(off::FPDS, fpu.ds);
        self.w64(off::FPIP, fpu.ip);
        self.w64(off::FPDP, fpu.dp);
        for (i, &(mantissa, exponent)) in fpu.regs.iter().enumerate() {
            self.w64(off::FPREGS + 16 * i, mantissa);
            self.w16(off::FPREGS + 16 * i + 8, exponent);
            self.w8(off::FPTAGS + i, u8::from(fpu.tag >> i & 1 == 0));
        }
    }

    fn msrs(&self) -> Msrs {
        let mut m = Msrs {
            efer: self.r64(off::EFER),
            star: self.r64(off::STAR),
            lstar: self.r64(off::LSTAR),
            cstar: self.r64(off::CSTAR),
            fmask: self.r64(off::FMASK),
            kernel_gs_base: self.r64(off::KERNEL_GS_BASE),
            sysenter_cs: self.r32(off::SYSENTER_CS),
            sysenter_esp: self.r64(off::SYSENTER_ESP),
            sysenter_eip: self.r64(off::SYSENTER_EIP),
            tsc_aux: self.r64(off::TSC_AUX),
            pat: self.r64(off::PAT),
            misc_enable: self.r64(off::MISC_ENABLE),
            mtrr_deftype: self.r64(off::MTRR_DEFTYPE),
            mcg_status: self.r64(off::MCG_STATUS),
            mcg_ctl: self.r64(off::MCG_CTL),
            tsc_adjust: self.r64(off::TSC_ADJUST),
            ..Msrs::default()
        };
        for (i, v) in m.mtrr_fixed.iter_mut().enumerate() {
            *v = self.r64(off::MTRR_FIXED + 8 * i);
        }
        for (i, v) in m.mtrr_var.iter_mut().enumerate() {
            *v = (self.r64(off::MTRR_VAR + 16 * i), self.r64(off::MTRR_VAR + 16 * i + 8));
        }
        m
    }

    fn set_msrs(&self, m: &Msrs) {
        self.w64(off::EFER, m.efer);
        self.w64(off::STAR, m.star);
        self.w64(off::LSTAR, m.lstar);
        self.w64(off::CSTAR, m.cstar);
        self.w64(off::FMASK, m.fmask);
        self.w64(off::KERNEL_GS_BASE, m.kernel_gs_base);
        self.w32(off::SYSENTER_CS, m.sysenter_cs);
        self.w64(off::SYSENTER_ESP, m.sysenter_esp);
        self.w64(off::SYSENTER_EIP, m.sysenter_eip);
        self.w64(off::TSC_AUX, m.tsc_aux);
        self.w64(off::PAT, m.pat);
        self.w64(off::MISC_ENABLE, m.misc_enable);
        self.w64(off::MTRR_DEFTYPE, m.mtrr_deftype);
        self.w64(off::MCG_STATUS, m.mcg_status);
        self.w64(off::MCG_CTL, m.mcg_ctl);
        self.w64(off::TSC_ADJUST, m.tsc_adjust);
        for (i, &v) in m.mtrr_fixed.iter().enumerate() {
            self.w64(off::MTRR_FIXED + 8 * i, v);
        }
        for (i, &(base, mask)) in m.mtrr_var.iter().enumerate() {
            self.w64(off::MTRR_VAR + 16 * i, base);
            self.w64(off::MTRR_VAR + 16 * i + 8, mask);
        }
    }

    fn bytes8(&self, at: usize) -> [u8; 8] {
        self.r64(at).to_le_bytes()
    }
}

/// Reads everything that the engine has. What it does not have, `cpu` adds.
pub fn save(engine: &Engine) -> CpuState {
    let env = engine.env();
    // Two of the engine's bits depend on which segment register was loaded last, without a difference in meaning: the same
    // state has the same form here, however it came about.
    const FORM: u32 = hflag::SS32 | hflag::ADDSEG;
    let hflags = env.r32(off::HFLAGS) & !(FORM | super::guard::HFLAGS) | env.derived_hflags() & FORM;
    let hflags2 = env.r32(off::HFLAGS2);
    let mut s = CpuState {
        rip: env.rip(),
        rflags: engine.rflags(),
        ldtr: env.segment_at(off::LDT),
        tr: env.segment_at(off::TR),
        gdtr: env.gdtr(),
        idtr: env.idtr(),
        cr0: env.r64(off::CR),
        cr2: env.r64(off::CR + 16),
        cr3: env.r64(off::CR + 24),
        cr4: env.r64(off::CR + 32),
        fpu: env.fpu(),
        mxcsr: env.r32(off::MXCSR),
        msr: env.msrs(),
        interrupt_shadow: hflags & hflag::INHIBIT_IRQ != 0,
        nmi_blocked: hflags2 & HF2_NMI != 0,
        engine: EngineState {
            hflags,
            hflags2,
            fp_status: env.bytes8(off::FP_STATUS),
            mmx_status: env.bytes8(off::MMX_STATUS),
            sse_status: env.bytes8(off::SSE_STATUS),
        },
        ..CpuState::default()
    };
    for i in 0..16 {
        s.gpr[i] = env.gpr(i);
        let at = off::XMM + off::XMM_STRIDE * i;
        s.xmm[i] = [env.r64(at), env.r64(at + 8)];
    }
    for i in 0..6 {
        s.seg[i] = env.segment(i);
    }
    s
}

/// Writes everything; the caller flushes the TLB.
pub fn restore(engine: &Engine, s: &CpuState) {
    let env = engine.env();
    for i in 0..16 {
        env.set_gpr(i, s.gpr[i]);
        let at = off::XMM + off::XMM_STRIDE * i;
        env.w64(at, s.xmm[i][0]);
        env.w64(at + 8, s.xmm[i][1]);
    }
    for i in 0..6 {
        env.set_segment(i, &s.seg[i]);
    }
    env.set_rip(s.rip);
    env.set_segment_at(off::LDT, &s.ldtr);
    env.set_segment_at(off::TR, &s.tr);
    for (at, table) in [(off::GDT, &s.gdtr), (off::IDT, &s.idtr)] {
        env.w64(at + 8, table.base);
        env.w32(at + 16, table.limit.into());
    }
    env.w64(off::CR, s.cr0);
    env.w64(off::CR + 16, s.cr2);
    env.w64(off::CR + 24, s.cr3);
    env.w64(off::CR + 32, s.cr4);
    env.set_fpu(&s.fpu);
    env.w32(off::MXCSR, s.mxcsr);
    env.set_msrs(&s.msr);
    env.w64(off::FP_STATUS, u64::from_le_bytes(s.engine.fp_status));
    env.w64(off::MMX_STATUS, u64::from_le_bytes(s.engine.mmx_status));
    env.w64(off::SSE_STATUS, u64::from_le_bytes(s.engine.sse_status));
    env.w32(off::OLD_EXCEPTION, u32::MAX);
    env.set_rflags(s.rflags);
    let shadow = if s.interrupt_shadow { hflag::INHIBIT_IRQ } else { 0 };
    env.w32(off::HFLAGS, (s.engine.hflags & !hflag::INHIBIT_IRQ) | shadow);
    let nmi = if s.nmi_blocked { HF2_NMI } else { 0 };
    env.w32(off::HFLAGS2, (s.engine.hflags2 & !HF2_NMI) | HF2_GIF | nmi);
    env.update_hflags();
}
